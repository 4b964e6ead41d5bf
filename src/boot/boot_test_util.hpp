// Guest memory and readers for the loader tests.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "boot/boot.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::boot::test {

inline std::unique_ptr<memory::GuestMemory> ram(u64 size) {
  auto memory = memory::GuestMemory::create(size, x86::pc::ram_low_limit);
  EXPECT_TRUE(memory) << memory.error().message();
  return std::move(*memory);
}

template <class T>
T at(const memory::GuestMemory& memory, u64 address) {
  const auto value = memory.read_value<T>(Gpa(address));
  EXPECT_TRUE(value) << value.error().message();
  return value.value_or(T{});
}

inline std::string text_at(const memory::GuestMemory& memory, u64 address) {
  std::string out;
  while (const char c = at<char>(memory, address + out.size())) out.push_back(c);
  return out;
}

inline BootConfig config_for(std::vector<u8> kernel, std::string cmdline = "console=ttyS0") {
  BootConfig config;
  config.source.kernel = std::move(kernel);
  config.source.cmdline = std::move(cmdline);
  return config;
}

/// The error's whole message, or "" when it went well.
inline std::string failure(const Result<BootPlan>& plan) { return plan ? "" : plan.error().message(); }

}  // namespace nagaya::boot::test
