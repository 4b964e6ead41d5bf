#include "net/inside.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "net/tool.hpp"

namespace nagaya::net {
namespace {

/// A process in a network namespace of its own (and a user namespace, when asked), until the end of the test.
class Elsewhere {
 public:
  explicit Elsewhere(int flags) {
    auto pipe = host::Fd::pipe();
    pid_ = ::fork();
    if (pid_ == 0) {
      const bool made = ::unshare(flags) == 0;
      (void)host::write_all(pipe->second.get(), made ? "y" : "n");
      for (;;) ::pause();
    }
    char said = 'n';
    (void)!::read(pipe->first.get(), &said, 1);
    made_ = said == 'y';
  }
  ~Elsewhere() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  host::Fd network() const { return host::Fd(::open(("/proc/" + std::to_string(pid_) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC)); }
  bool made() const { return made_; }
  std::string route() const {
    const auto text = host::read_file("/proc/" + std::to_string(pid_) + "/net/route", 65536);
    return text ? std::string(text->begin(), text->end()) : "";
  }

 private:
  pid_t pid_ = -1;
  bool made_ = false;
};

CardInside card() {
  return {.name = "eth0", .mac = {2, 0, 0, 0, 0, 9}, .mtu = 1400, .address = Ip4::parse("10.7.0.5").value(), .prefix = 24, .gateway = Ip4::parse("10.7.0.1").value()};
}

TEST(Inside, MakesAConfiguredTapInTheNamespaceAndLeavesOursAlone) {
  for (const int flags : {CLONE_NEWNET, CLONE_NEWNET | CLONE_NEWUSER}) {
    const Elsewhere there(flags);
    if (!there.made() || ::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "namespaces or taps are not for this user";
    const auto ours = host::read_file("/proc/self/net/dev", 65536);
    const auto tap = make_tap_inside(there.network().get(), card());
    ASSERT_TRUE(tap) << tap.error().message();
    EXPECT_NE(there.route().find("eth0\t00000000\t0100070A"), std::string::npos) << there.route();
    const auto devices = host::read_file("/proc/" + std::to_string(there.pid()) + "/net/dev", 65536);
    EXPECT_NE(std::string(devices->begin(), devices->end()).find("eth0"), std::string::npos);
    EXPECT_EQ(std::string(ours->begin(), ours->end()).find("eth0:") == std::string::npos,
              [] { const auto now = host::read_file("/proc/self/net/dev", 65536); return std::string(now->begin(), now->end()).find("eth0:") == std::string::npos; }());
  }
}

TEST(Inside, MakesANamespaceNobodyIsIn) {
  const auto made = make_network_namespace();
  if (!made) GTEST_SKIP() << made.error().message();
  const auto tap = make_tap_inside(made->get(), card());
  EXPECT_TRUE(tap || tap.error().message().find("tun") != std::string::npos);
  EXPECT_TRUE(bring_up_loopback(made->get()));
}

TEST(Inside, SaysWhatIsMissing) {
  const Elsewhere there(CLONE_NEWNET);
  if (!there.made()) GTEST_SKIP() << "namespaces are not for this user";
  const auto done = configure_inside(there.network().get(), card());
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message().find("eth0"), std::string::npos) << done.error().message();
}

}  // namespace
}  // namespace nagaya::net
