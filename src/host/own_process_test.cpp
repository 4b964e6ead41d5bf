#include "host/own_process.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace nagaya::host {
namespace {

TEST(OwnProcess, ChangesNothingHereAndTellsTheWholeError) {
  const pid_t self = ::getpid();
  ASSERT_TRUE(in_own_process([&]() -> Result<> {
    if (::getpid() == self) return fail("it is no process of its own");
    return ::chdir("/") == 0 ? Result<>{} : fail("cannot go to /");
  }));
  const auto done = in_own_process([]() -> Result<> { return std::unexpected(Error{"it", "failed", "try again", ENOENT}); });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), (Error{"it", "failed", "try again", 0}.message()));
  EXPECT_EQ(done.error().code, ENOENT);
}

TEST(OwnProcess, AChildThatDiesIsAnError) {
  EXPECT_FALSE(in_own_process([]() -> Result<> {
    ::raise(SIGKILL);
    return {};
  }));
  EXPECT_FALSE(in_own_process([]() -> Result<> { ::_exit(3); }));
}

}  // namespace
}  // namespace nagaya::host
