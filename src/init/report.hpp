// How the first process of a guest speaks: on the console; and how it ends a machine that cannot go on.
#pragma once
#include <string>

#include "base/result.hpp"

namespace nagaya::init {

/// Prints "nagaya-init: …" on standard error.
void say(const std::string& text);
/// Ends the machine. File systems are written back.
[[noreturn]] void power_off();

}  // namespace nagaya::init
