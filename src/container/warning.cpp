#include "container/warning.hpp"

namespace nagaya::container {
namespace {
WarningSink current_sink = nullptr;
}  // namespace

void set_warning_sink(WarningSink sink) { current_sink = sink; }

void warn(const std::string& text) {
  if (current_sink != nullptr) current_sink(text);
}

}  // namespace nagaya::container
