// What a fuzz target offers besides libFuzzer's entry point.
#pragma once
#include <cstddef>
#include <vector>

#include "base/types.hpp"

/// Runs the target on one input. A fault, a sanitizer report or an abort is a finding; the result is always 0.
extern "C" int LLVMFuzzerTestOneInput(const nagaya::u8* data, std::size_t size);

namespace nagaya::fuzz {

/// Well-formed inputs to start from.
std::vector<std::vector<u8>> seeds();

}  // namespace nagaya::fuzz
