// Both sides of the agent's protocol over a socket pair, with real processes and files of this machine.
#include "agent/guest/service.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "agent/client.hpp"
#include "agent/exec_client.hpp"
#include "agent/guest/user.hpp"

namespace nagaya::agent {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ServiceTest : public ::testing::Test {
 protected:
  /// A connection to a service on a thread of its own.
  Channel connection() {
    auto pair = host::Fd::socketpair();
    EXPECT_TRUE(pair);
    servers.emplace_back([socket = std::move(pair->first)]() mutable {
      Channel channel(std::move(socket));
      guest::serve(channel);
    });
    return Channel(std::move(pair->second));
  }
  struct Outcome {
    Exited exited{};
    std::string output, errors, failure;
    int code = 0;
  };
  Outcome exec(const ExecRequest& request, const std::string& input = {}, Channel* given = nullptr) {
    std::optional<Channel> own;
    if (given == nullptr) own.emplace(connection());
    Channel& channel = given != nullptr ? *given : *own;
    Outcome out;
    auto in = *host::Fd::pipe(), output = *host::Fd::pipe(), errors = *host::Fd::pipe();
    const auto read = [](const host::Fd& fd, std::string& to) {
      auto bytes = host::read_all(fd.get(), 64 * MiB, "output");
      ASSERT_TRUE(bytes);
      to.assign(bytes->begin(), bytes->end());
    };
    std::jthread writer([&, fd = std::move(in.second)]() mutable { (void)host::write_all(fd.get(), input); });
    std::jthread reader([&] { read(output.first, out.output); }), error_reader([&] { read(errors.first, out.errors); });
    auto ended = run_exec(channel, request, {.input = request.input ? in.first.get() : -1, .output = output.second.get(), .errors = errors.second.get()});
    in.first.reset(), output.second.reset(), errors.second.reset();
    if (ended) {
      out.exited = *ended;
    } else {
      out.failure = ended.error().message();
      out.code = ended.error().code;
    }
    return out;
  }
  static void SetUpTestSuite() { ::signal(SIGPIPE, SIG_IGN); }
  std::vector<std::jthread> servers;
};

TEST_F(ServiceTest, RunsACommand) {
  const Outcome out = exec({.command = {"sh", "-c", "echo out; echo err >&2; exit 3"}});
  EXPECT_EQ(out.output, "out\n");
  EXPECT_EQ(out.errors, "err\n");
  EXPECT_EQ(out.exited.value, 3u);
  EXPECT_FALSE(out.exited.signalled);
  EXPECT_EQ(exec({.command = {"sh", "-c", "kill -KILL $$"}}).exited.value, 9u);
}

TEST_F(ServiceTest, FramesThatComeTogetherAreAllSeen) {
  auto pair = *host::Fd::socketpair();
  std::vector<u8> bytes;
  put_frame(bytes, Kind::accepted, {});
  put_frame(bytes, Kind::output, std::vector<u8>{'x'});
  put_frame(bytes, Kind::exited, encode(Exited{false, 6}));
  ASSERT_TRUE(host::write_all(pair.first.get(), bytes));
  Channel channel(std::move(pair.second));
  const Outcome out = exec({.command = {"true"}}, "", &channel);
  EXPECT_EQ(out.output, "x");
  EXPECT_EQ(out.exited.value, 6u);
  // And on the other side.
  Channel other = connection();
  bytes.clear();
  put_frame(bytes, Kind::request, encode(Request{.operation = Operation::exec, .exec = {.command = {"cat"}, .input = true}}));
  put_frame(bytes, Kind::input, std::vector<u8>{'y'});
  put_frame(bytes, Kind::input_end, {});
  ASSERT_TRUE(host::write_all(other.fd(), bytes));
  std::string seen;
  while (true) {
    auto frame = other.receive(20000);
    ASSERT_TRUE(frame && *frame);
    if ((*frame)->kind == Kind::output) seen.append((*frame)->payload.begin(), (*frame)->payload.end());
    if ((*frame)->kind == Kind::exited) break;
  }
  EXPECT_EQ(seen, "y");
}

TEST_F(ServiceTest, FolderAndVariables) {
  const Outcome out = exec({.command = {"sh", "-c", "pwd; echo $A $PATH"}, .environment = {"A=one two", "PATH=/usr/bin:/bin", "=x", "y"}, .folder = "/usr"});
  EXPECT_EQ(out.output, "/usr\none two /usr/bin:/bin\n");
  EXPECT_EQ(exec({.command = {"true"}, .folder = "/no/such/folder"}).code, 0);
  EXPECT_THAT(exec({.command = {"true"}, .folder = "/no/such/folder"}).failure, HasSubstr("/no/such/folder"));
}

TEST_F(ServiceTest, WhatCannotBeRun) {
  EXPECT_EQ(exec({.command = {"no-such-command-here"}}).code, ENOENT);
  EXPECT_EQ(exec({.command = {"/etc"}}).code, EACCES);
  EXPECT_THAT(exec({.command = {"true"}, .user = "no-such-user"}).failure, HasSubstr("no-such-user"));
}

TEST_F(ServiceTest, MuchDataBothWays) {
  std::string data(6 * MiB, 0);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 13);
  const Outcome out = exec({.command = {"cat"}, .input = true}, data);
  EXPECT_TRUE(out.output == data) << out.output.size();
  EXPECT_EQ(out.exited.value, 0u) << out.failure;
  // A command that reads nothing, one that reads a part.
  EXPECT_EQ(exec({.command = {"true"}, .input = true}, data).failure, "");
  EXPECT_EQ(exec({.command = {"head", "-c", "10"}, .input = true}, data).output, data.substr(0, 10));
}

TEST_F(ServiceTest, ChildrenThatLiveOnAreNotWaitedFor) {
  const auto before = std::chrono::steady_clock::now();
  const Outcome out = exec({.command = {"sh", "-c", "(sleep 30; echo late) & echo early"}});
  EXPECT_EQ(out.output, "early\n");
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(20));
}

TEST_F(ServiceTest, ATerminal) {
  const Outcome out = exec({.command = {"sh", "-c", "stty size; test -t 0 && test -t 1 && test -t 2 && echo all; echo $TERM; cat"},
                            .environment = {"TERM=vt100"}, .terminal = true, .input = true, .columns = 132, .rows = 43},
                           "typed\n");
  // What is typed is echoed at any time.
  EXPECT_THAT(out.output, HasSubstr("43 132\r\n"));
  EXPECT_THAT(out.output, HasSubstr("all\r\nvt100\r\n"));
  EXPECT_THAT(out.output, HasSubstr("typed\r\n"));
  EXPECT_EQ(out.exited.value, 0u) << out.failure;
}

TEST_F(ServiceTest, SignalsAndSizes) {
  Channel channel = connection();
  ASSERT_TRUE(ask(channel, {.operation = Operation::exec,
                            .exec = {.command = {"sh", "-c", "trap 'stty size; exit 5' TERM; echo ready; while :; do sleep 0.05; done"}, .terminal = true}}));
  auto frame = channel.receive();
  ASSERT_TRUE(frame && *frame);
  ASSERT_TRUE(channel.send(Kind::resize, encode(Resize{100, 30})));
  ASSERT_TRUE(channel.send(Kind::signal, std::vector<u8>{SIGTERM}));
  std::string text;
  while ((frame = channel.receive()) && *frame && (*frame)->kind == Kind::output) text.append((*frame)->payload.begin(), (*frame)->payload.end());
  EXPECT_THAT(text, HasSubstr("30 100"));
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ(decode_exited((*frame)->payload)->value, 5u);
}

TEST_F(ServiceTest, AHostThatGoesTakesItsCommandAlong) {
  auto alive = *host::Fd::pipe();  // its end is seen when the last holder has gone
  {
    Channel channel = connection();
    // The pipe's write end is inherited by no exec: the command holds a fifo instead.
    const fs::path fifo = fs::temp_directory_path() / ("nagaya-agent-fifo-" + std::to_string(::getpid()));
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    ASSERT_TRUE(ask(channel, {.operation = Operation::exec, .exec = {.command = {"sh", "-c", "exec 9>" + fifo.string() + "; trap '' HUP; while :; do sleep 1; done"}}}));
    alive.first = *host::Fd::open(fifo, O_RDONLY);
    fs::remove(fifo);
  }
  char byte;
  EXPECT_EQ(::read(alive.first.get(), &byte, 1), 0);
}

TEST_F(ServiceTest, AHostThatBreaksTheRulesIsLetGo) {
  const auto ends = [](Channel& channel) {
    while (true) {
      auto frame = channel.receive(20000);
      if (!frame || !*frame) return true;
      if ((*frame)->kind == Kind::exited) return false;
    }
  };
  const auto begin = [&] {
    Channel channel = connection();
    EXPECT_TRUE(ask(channel, {.operation = Operation::exec, .exec = {.command = {"sleep", "60"}, .input = true}}));
    return channel;
  };
  for (int how = 0; how < 5; ++how) {
    Channel channel = begin();
    if (how == 0) {
      // More input than it has room for: sleep reads nothing.
      for (int i = 0; i < 40; ++i) (void)channel.send(Kind::input, std::vector<u8>(data_chunk));
    }
    if (how == 1) (void)channel.send(Kind::window, encode(Window{Stream::output, 1}));
    if (how == 2) (void)channel.send(Kind::signal, std::vector<u8>{99});
    if (how == 3) (void)channel.send(Kind::entry);
    if (how == 4) (void)::send(channel.fd(), "nonsense that is no frame at all", 32, MSG_NOSIGNAL);
    EXPECT_TRUE(ends(channel)) << how;
  }
  Channel first = connection();
  (void)first.send(Kind::input);
  EXPECT_TRUE(ends(first));
  Channel other = connection();
  (void)other.send(Kind::request, std::vector<u8>(3));
  auto frame = other.receive();
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ((*frame)->kind, Kind::failed);
}

TEST_F(ServiceTest, Ping) {
  Channel channel = connection();
  auto answer = ask(channel, {.operation = Operation::ping});
  ASSERT_TRUE(answer);
  EXPECT_THAT(*decode_texts(*answer), ::testing::Contains("protocol=1"));
  Channel second = connection();
  EXPECT_TRUE(decode_texts(*ask(second, {.operation = Operation::addresses})));
}

TEST(Users, AreFoundInTheGuestsFiles) {
  const fs::path root = fs::temp_directory_path() / ("nagaya-users-" + std::to_string(::getpid()));
  fs::create_directories(root / "etc");
  std::ofstream(root / "etc/passwd") << "root:x:0:0:root:/root:/bin/bash\nwww:x:33:34:www:/var/www:\n123:x:50:50::/:/bin/sh\nbroken\nhuge:x:99999999999:1::/:/\n";
  std::ofstream(root / "etc/group") << "www:x:34:\nlog:x:4:www,other\nnone:x:5:wwwx\n";
  const std::string at = root.string() + "/";
  const auto www = guest::find_user("www", at);
  ASSERT_TRUE(www);
  EXPECT_EQ(www->uid, 33u);
  EXPECT_EQ(www->gid, 34u);
  EXPECT_EQ(www->home, "/var/www");
  EXPECT_EQ(www->shell, "/bin/sh");
  EXPECT_EQ(www->groups, (std::vector<gid_t>{34, 4}));
  EXPECT_EQ(guest::find_user("33", at)->name, "www");
  EXPECT_EQ(guest::find_user("www:log", at)->gid, 4u);
  EXPECT_EQ(guest::find_user("7:8", at)->gid, 8u);
  EXPECT_EQ(guest::find_user("123", at)->uid, 123u) << "digits are a number, whatever names there are";
  EXPECT_EQ(guest::find_user("", at)->home, "/root");
  EXPECT_FALSE(guest::find_user("nobody-here", at));
  EXPECT_FALSE(guest::find_user("huge", at));
  EXPECT_FALSE(guest::find_user("www:nothing", at));
  EXPECT_EQ(guest::find_user("", "/no/such/root/")->uid, 0u);
  fs::remove_all(root);
}

}  // namespace
}  // namespace nagaya::agent
