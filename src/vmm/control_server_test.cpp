#include "vmm/control_server.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace nagaya::vmm {
namespace {

class ControlServerTest : public ::testing::Test {
 protected:
  ControlServerTest() : loop_(host::EventLoop::create().value()) {
    server_ = std::make_unique<ControlServer>(*loop_, [this](const proto::VmCommand& command) {
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
