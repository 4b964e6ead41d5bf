#include "vmm/control_server.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace nagaya::vmm {
namespace {

class ControlServerTest : public ::testing::Test {
 protected:
  ControlServerTest() : loop_(host::EventLoop::create().value()) {
    server_ = std::make_unique<ControlServer>(*loop_, [this](const proto::VmCommand& command, host::Fd file) {
      file_ = std::move(file);
      ++commands_;
      return proto::VmAnswer{.status = command.verb == proto::VmCommand::Verb::pause ? "paused" : "running"};
    });
    auto pair = host::Fd::socketpair().value();
    client_ = std::move(pair.first);
    EXPECT_TRUE(server_->serve(std::move(pair.second)));
  }
  void send(std::string_view text) {
    ASSERT_TRUE(host::write_all(client_.get(), text));
    // Long texts arrive in several rounds.
    for (int i = 0; i < 40; ++i) loop_->run_once(0);
  }
  /// What has been answered so far; "closed" at its end when the server hung up.
  std::string received() {
    std::string out;
    char buffer[4096];
    ssize_t got;
    while ((got = ::recv(client_.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0) out.append(buffer, static_cast<std::size_t>(got));
    return got == 0 || errno == ECONNRESET ? out + "closed" : out;
  }
  std::unique_ptr<host::EventLoop> loop_;
  std::unique_ptr<ControlServer> server_;
  host::Fd client_;
  int commands_ = 0;
  host::Fd file_;  // of the last command
};

TEST_F(ControlServerTest, OneAnswerPerLineInOrder) {
  send("{\"command\":\"pause\"}\n\n{\"command\":\"status\"}\n{\"comm");
  EXPECT_EQ(received(), "{\"ok\":true,\"status\":\"paused\"}\n{\"ok\":true,\"status\":\"running\"}\n");
  send("and\":\"status\"}\n");
  EXPECT_EQ(received(), "{\"ok\":true,\"status\":\"running\"}\n");
  EXPECT_EQ(commands_, 3);
}

TEST_F(ControlServerTest, NonsenseGetsAnErrorAndTheConnectionStays) {
  send("hello\n{\"command\":\"dance\"}\n[1]\n");
  const std::string out = received();
  EXPECT_EQ(std::ranges::count(out, '\n'), 3);
  EXPECT_EQ(out.find("\"ok\":true"), std::string::npos);
  EXPECT_EQ(commands_, 0);
  send("{\"command\":\"status\"}\n");
  EXPECT_EQ(received(), "{\"ok\":true,\"status\":\"running\"}\n");
}

TEST_F(ControlServerTest, EndlessLinesLoseTheConnection) {
  send(std::string(proto::longest_command + 5000, 'x'));
  EXPECT_EQ(received(), "closed");
}

TEST_F(ControlServerTest, AFileComesWithTheCommandThatTakesOne) {
  const auto send_file = [&](std::string text, std::vector<int> fds) {
    iovec part{text.data(), text.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
    ASSERT_GT(::sendmsg(client_.get(), &message, 0), 0);
    for (int i = 0; i < 40; ++i) loop_->run_once(0);
  };
  const auto same_file = [&](int other) {
    struct stat a {}, b {};
    return file_ && ::fstat(file_.get(), &a) == 0 && ::fstat(other, &b) == 0 && a.st_ino == b.st_ino;
  };
  const host::Fd one = host::Fd::memfd("one", 1).value(), two = host::Fd::memfd("two", 1).value();
  send_file("{\"command\":\"status\"}\n{\"command\":\"save\",\"file\":\"f\"}\n", {one.get()});
  EXPECT_TRUE(same_file(one.get()));
  EXPECT_NE(::fcntl(file_.get(), F_GETFD) & FD_CLOEXEC, 0);
  // Without one there is none, and of several the first counts.
  send("{\"command\":\"save\",\"file\":\"f\"}\n");
  EXPECT_FALSE(file_);
  send_file("{\"command\":\"save\",\"file\":\"f\"}\n", {two.get(), one.get(), one.get()});
  EXPECT_TRUE(same_file(two.get()));
  EXPECT_EQ(commands_, 4);
}

TEST_F(ControlServerTest, SocketIsForThisUserAndGoesAway) {
  const std::string path = ::testing::TempDir() + "nagaya-control-" + std::to_string(::getpid());
  ASSERT_TRUE(server_->listen(path));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  client_ = host::Fd::connect_unix(path).value();
  loop_->run_once(-1);
  send("{\"command\":\"status\"}\n");
  EXPECT_EQ(received(), "{\"ok\":true,\"status\":\"running\"}\n");
  server_.reset();
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

}  // namespace
}  // namespace nagaya::vmm
