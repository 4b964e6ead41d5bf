// Seccomp profiles, and an agent that answers for a container's system calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;

Json profile(const char* name, const char* action) {
  return {{"defaultAction", "SCMP_ACT_ALLOW"},
          {"architectures", {"SCMP_ARCH_X86_64"}},
          {"syscalls", {{{"names", {name}}, {"action", action}}}}};
}

TEST(OciSeccomp, RulesHoldWithAndWithoutNewPrivileges) {
  NEEDS_CONTAINERS();
  for (const bool none : {true, false}) {
    Bundle b;
    b.config["process"]["noNewPrivileges"] = none;
    b.config["linux"]["seccomp"] = profile("mkdir", "SCMP_ACT_ERRNO");
    b.config["linux"]["seccomp"]["syscalls"][0]["errnoRet"] = ENOSPC;
    const Outcome outcome = b.run("mkdir /tmp/x; grep Seccomp: /proc/self/status");
    EXPECT_THAT(outcome.err, HasSubstr("No space left"));
    EXPECT_THAT(outcome.out, HasSubstr("\t2"));
    b.config["linux"]["seccomp"] = profile("mkdir", "SCMP_ACT_KILL_PROCESS");
    EXPECT_EQ(b.run("mkdir /tmp/x; echo $?").out, "159\n");
  }
}

TEST(OciSeccomp, ExecIsFilteredToo) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["linux"]["seccomp"] = profile("mkdir", "SCMP_ACT_ERRNO");
  b.script("sleep 100");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  EXPECT_THAT(b.oci({"exec", "c", "mkdir", "/tmp/x"}).err, HasSubstr("not permitted"));
}

/// Takes one listener and answers every call with `error` until the container is gone.
void serve(int listening, std::string* told, int error) {
  const int connection = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
  char text[8192];
  iovec part{text, sizeof text};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t count = ::recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  if (count <= 0 || CMSG_FIRSTHDR(&message) == nullptr) return;
  told->assign(text, static_cast<std::size_t>(count));
  int listener = -1;
  std::memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof listener);
  for (;;) {
    pollfd item{listener, POLLIN, 0};
    if (::poll(&item, 1, 30'000) <= 0 || (item.revents & POLLIN) == 0) break;
    alignas(8) char request[sizeof(seccomp_notif) + 256] = {};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, request) != 0) continue;
    alignas(8) char answer[sizeof(seccomp_notif_resp) + 256] = {};
    auto& response = *reinterpret_cast<seccomp_notif_resp*>(answer);
    response.id = reinterpret_cast<seccomp_notif*>(request)->id;
    response.error = -error;
    if (error == 0) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, answer);
  }
  ::close(listener);
  ::close(connection);
}

TEST(OciSeccomp, AgentGetsListenerAndState) {
  NEEDS_CONTAINERS();
  for (const bool none : {true, false}) {
    Bundle b;
    const std::string path = b.path + "/agent";
    const int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listening, 4), 0);
    std::string told;
    std::thread agent(serve, listening, &told, ENOANO);
    b.config["process"]["noNewPrivileges"] = none;
    b.config["linux"]["seccomp"] = profile("mkdir", "SCMP_ACT_NOTIFY");
    b.config["linux"]["seccomp"]["listenerPath"] = path;
    b.config["linux"]["seccomp"]["listenerMetadata"] = "of \"ours\"";
    const Outcome outcome = b.run("mkdir /tmp/x");
    EXPECT_THAT(outcome.err, HasSubstr("No anode"));
    agent.join();
    ::close(listening);
    ASSERT_TRUE(Json::accept(told)) << told;
    const Json state = Json::parse(told);
    EXPECT_EQ(state["fds"][0], "seccompFd");
    EXPECT_EQ(state["metadata"], "of \"ours\"");
    EXPECT_EQ(state["state"]["id"], "c");
    EXPECT_GT(state["pid"].get<int>(), 1);
  }
}

/// The listener is on its way while calls that carry it wait for the agent already.
TEST(OciSeccomp, EvenWhenSendmsgIsTheAgentsMatter) {
  NEEDS_CONTAINERS();
  Bundle b;
  const std::string path = b.path + "/agent";
  const int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listening, 4), 0);
  std::string told;
  std::thread agent(serve, listening, &told, 0);
  b.config["linux"]["seccomp"] = profile("sendmsg", "SCMP_ACT_NOTIFY");
  b.config["linux"]["seccomp"]["syscalls"][0]["names"] = {"sendmsg", "close", "write", "wait4", "execve", "getppid"};
  b.config["linux"]["seccomp"]["listenerPath"] = path;
  EXPECT_EQ(b.run("echo fine").out, "fine\n");
  agent.join();
  ::close(listening);
}

TEST(OciSeccomp, WrongProfilesAreErrors) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["linux"]["seccomp"] = profile("mkdir", "SCMP_ACT_NONSENSE");
  EXPECT_NE(b.run("true").code, 0);
  b.config["linux"]["seccomp"] = profile("mkdir", "SCMP_ACT_NOTIFY");
  EXPECT_THAT(b.run("true").err, HasSubstr("listenerPath"));
  b.config["linux"]["seccomp"]["listenerPath"] = "/proc/nowhere";
  EXPECT_NE(b.run("true").code, 0);
  EXPECT_TRUE(b.state("c").is_null());
}

}  // namespace
}  // namespace nagaya::oci_test
