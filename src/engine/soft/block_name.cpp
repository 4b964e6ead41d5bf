#include "engine/soft/block_name.hpp"

#include <fmt/format.h>

namespace nagaya::engine::soft {

std::string mode_name(Mode mode) {
  constexpr char privileges[] = {'k', 'u', 'a', '?'};
  return fmt::format("{}{}{}", 16u << mode.code_size(), privileges[mode.kind()], mode.has(mode_bits::step) ? "s" : mode.has(mode_bits::careful) ? "c" : "");
}

std::string block_name(Mode mode, u64 gpa, u64 rip) { return fmt::format("guest:{}:{:x}:{:x}", mode_name(mode), gpa, rip); }

}  // namespace nagaya::engine::soft
