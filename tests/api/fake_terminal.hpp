// Something that behaves like a shell on a terminal, without being one.
#pragma once
#include "api/backend.hpp"

namespace nagaya::api::test {

/// Echoes what is typed (on a terminal), and answers lines: "echo WORDS", "size", "flood BYTES", "error WORDS" (to standard error),
/// "exit CODE". Without a terminal the end of input ends it with code 0.
[[nodiscard]] Result<Terminal> fake_terminal(const std::string& name, bool terminal);

}  // namespace nagaya::api::test
