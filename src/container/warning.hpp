// What goes wrong without ending the command: told to the program above, which knows where its log is.
#pragma once
#include <string>

namespace nagaya::container {

using WarningSink = void (*)(const std::string& text);
/// For the whole program; none at first: warnings are dropped.
void set_warning_sink(WarningSink sink);
void warn(const std::string& text);

}  // namespace nagaya::container
