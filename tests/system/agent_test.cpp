// The guest agent over virtio sockets, as nagaya exec and nagaya cp use it; and what a guest does with its console and its
// balloon. The guest is Debian's kernel with a busybox RAM disk, to which the agent is added.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// One file as an archive in the kernel's "newc" form.
std::string cpio(const std::string& name, const std::string& content) {
  std::string out;
  const auto add = [&](const std::string& path, unsigned mode, const std::string& data) {
    char header[111];
    std::snprintf(header, sizeof header, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 1u, mode, 0u, 0u, 1u, 0u, data.size(), 0u, 0u,
                  0u, 0u, path.size() + 1, 0u);
    out += header + path + '\0';
    out.resize((out.size() + 3) / 4 * 4);
    out += data;
    out.resize((out.size() + 3) / 4 * 4);
  };
  add(name, 0100755, content);
  add("TRAILER!!!", 0, "");
  return out;
}

/// The RAM disk with the agent as /nagaya-agent; the kernel unpacks archives one after the other.
std::string initrd() {
  static const std::string path = [] {
    const std::string made = scratch("initrd-agent");
    std::ofstream(made) << text_of(debian("initrd-amd64-devices")) << cpio("nagaya-agent", text_of(fs::path(nagaya()).parent_path() / "nagaya-agent"));
    return made;
  }();
  return path;
}

constexpr const char* start_agent =
    "modprobe virtio_pci; modprobe vmw_vsock_virtio_transport; mkdir -p /dev/pts; mount -t devpts devpts /dev/pts; /nagaya-agent & ";

std::string socket_of(const std::string& name) {
  ::setenv("NAGAYA_RUNTIME_DIR", scratch("run").c_str(), 1);
  fs::create_directories(scratch("run/vm/" + name));
  return scratch("run/vm/" + name + "/vsock.sock");
}

Words machine(const std::string& name, const std::string& commands, const Words& more = {}) {
  Words words{"run", "--kernel", debian("vmlinuz-amd64"), "--initrd", initrd(), "-m", "256M", "--engine", "soft", "--no-reboot", "--vsock", "path=" + socket_of(name),
              "--append", "console=ttyS0 quiet panic=-1 guest_run=\"" + commands + "\""};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// One guest with an agent for all tests of this file that need no other.
Command& shared_guest() {
  static Command command(machine("t", std::string(start_agent) + "echo agent-$((1)); sleep 100000"));
  static const bool up = command.wait_for("agent-1", 120);
  EXPECT_TRUE(up) << command.output() << command.errors();
  return command;
}

Words in_guest(const Words& words, const Words& options = {}) {
  Words out{"exec"};
  out.insert(out.end(), options.begin(), options.end());
  out.push_back("t");
  out.insert(out.end(), words.begin(), words.end());
  return out;
}

class Agent : public ::testing::Test {
 protected:
  void SetUp() override { shared_guest(); }
};

TEST_F(Agent, RunsCommands) {
  Outcome out = run(in_guest({"sh", "-c", "uname -n; echo oops >&2; exit 7"}), 60);
  EXPECT_EQ(out.code, 7) << out.errors;
  EXPECT_EQ(out.output, "guest\n");
  EXPECT_EQ(out.errors, "oops\n");
  EXPECT_EQ(run(in_guest({"sh", "-c", "kill -9 $$"}), 60).code, 137);
  out = run(in_guest({"no-such-command"}), 60);
  EXPECT_EQ(out.code, 127);
  EXPECT_THAT(out.errors, HasSubstr("no-such-command"));
  EXPECT_EQ(run(in_guest({"/proc"}), 60).code, 126);
  out = run(in_guest({"sh", "-c", "echo $A $HOME; pwd; id -u"}, {"-e", "A=x y", "-w", "/usr", "-u", "1000:1000"}), 60);
  EXPECT_EQ(out.output, "x y /\n/usr\n1000\n") << out.errors;
}

TEST_F(Agent, OurOwnErrors) {
  for (const Words& words : {Words{"exec", "nobody", "true"}, Words{"exec", "../t", "true"}, Words{"exec", "--", "-t", "true"}, Words{"exec", "t"}, Words{"exec"},
                             Words{"exec", "-e", "=x", "t", "true"}, Words{"cp", "t:/etc"}, Words{"cp", "a", "b"}, Words{"cp", "t:/a", "t:/b"},
                             Words{"cp", "nobody:/a", "."}, Words{"cp", "t:/no/such/file", scratch("x")}, Words{"cp", "/no/such/file", "t:/"}}) {
    const Outcome out = run(words, 60);
    EXPECT_EQ(out.code, 125) << words.back();
    EXPECT_NE(out.errors, "");
  }
}

TEST_F(Agent, MuchDataThroughACommand) {
  std::string data(24u << 20, 0);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 11);
  Command command(in_guest({"cat"}, {"-i"}), Command::Input::pipe);
  // What comes back is read meanwhile.
  std::thread writer([&] {
    command.send(data);
    command.close_input();
  });
  const bool ended = command.wait_end(120);
  writer.join();
  ASSERT_TRUE(ended);
  EXPECT_EQ(command.exit_code(), 0) << command.errors();
  EXPECT_TRUE(command.output() == data) << command.output().size();
}

TEST_F(Agent, AShellOnATerminal) {
  Command command(in_guest({"sh"}, {"-i", "-t"}), Command::Input::terminal);
  const winsize size{33, 111, 0, 0};
  termios before{};
  ::tcgetattr(command.terminal(), &before);
  command.send("echo $((6 * 7)) answers\n");
  ASSERT_TRUE(command.wait_for("42 answers", 60)) << command.output();
  ::ioctl(command.terminal(), TIOCSWINSZ, &size);
  ::kill(command.pid(), SIGWINCH);
  sleep_for(0.3);
  command.send("stty size\n");
  EXPECT_TRUE(command.wait_for("33 111", 60)) << command.output();
  command.send("sleep 1000\n");
  sleep_for(0.5);
  command.send("\x03");
  command.send("echo $((5 * 5)) again\n");
  EXPECT_TRUE(command.wait_for("25 again", 60)) << command.output();
  command.send("exit 4\n");
  ASSERT_TRUE(command.wait_end(60));
  EXPECT_EQ(command.exit_code(), 4);
  termios after{};
  ::tcgetattr(command.terminal(), &after);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
}

TEST_F(Agent, SignalsReachTheCommand) {
  Command command(in_guest({"sh", "-c", "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done"}));
  ASSERT_TRUE(command.wait_for("ready", 60)) << command.errors();
  command.signal(SIGTERM);
  ASSERT_TRUE(command.wait_end(60));
  EXPECT_EQ(command.exit_code(), 9);
  EXPECT_THAT(command.output(), HasSubstr("caught"));
  // Who leaves takes the command along.
  {
    Command other(in_guest({"sh", "-c", "echo started; exec sleep 98765"}));
    ASSERT_TRUE(other.wait_for("started", 60));
    other.signal(SIGKILL);
    other.wait_end(60);
  }
  std::string left = "?";
  for (int i = 0; i < 50 && !left.empty(); ++i) left = run(in_guest({"sh", "-c", "pgrep -f 'sleep 9876[5]'"}), 60).output;
  EXPECT_EQ(left, "");
}

TEST_F(Agent, FilesBothWays) {
  const fs::path tree = scratch("tree");
  fs::remove_all(tree);
  fs::create_directories(tree / "sub/empty");
  std::string big(5u << 20, 0);
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 40503u >> 7);
  std::ofstream(tree / "big") << big;
  std::ofstream(tree / "sub/tool") << "#!/bin/sh\n";
  fs::permissions(tree / "sub/tool", fs::perms(0751));
  fs::create_symlink("sub/tool", tree / "link");
  const timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (tree / "sub/tool").c_str(), times, 0), 0);

  Outcome out = run({"cp", tree.string(), "t:/tmp"}, 120);
  ASSERT_EQ(out.code, 0) << out.errors;
  out = run(in_guest({"sh", "-c", "cd /tmp/tree; stat -c '%a %Y' sub/tool; readlink link; ls -d sub/empty; wc -c <big"}), 60);
  EXPECT_EQ(out.output, "751 1000000000\nsub/tool\nsub/empty\n5242880\n") << out.errors;
  const std::string back = scratch("back");
  fs::remove_all(back);
  out = run({"cp", "t:/tmp/tree", back}, 120);
  ASSERT_EQ(out.code, 0) << out.errors;
  EXPECT_TRUE(text_of(back + "/big") == big);
  EXPECT_EQ(fs::read_symlink(back + "/link"), "sub/tool");
  struct stat info {};
  ASSERT_EQ(::stat((back + "/sub/tool").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0751u);
  EXPECT_EQ(info.st_mtime, 1000000000);
  EXPECT_TRUE(fs::is_directory(back + "/sub/empty"));

  // As tar streams.
  out = run({"cp", "t:/tmp/tree/sub", "-"}, 60);
  ASSERT_EQ(out.code, 0) << out.errors;
  std::ofstream(scratch("stream.tar")) << out.output;
  EXPECT_EQ(std::system(("cd " + scratch("") + " && rm -rf untar && mkdir untar && tar x -C untar -f stream.tar && test -x untar/sub/tool").c_str()), 0);
  Command into({"cp", "-", "t:/tmp/tree/sub/empty"}, Command::Input::pipe);
  into.send(out.output);
  into.close_input();
  ASSERT_TRUE(into.wait_end(60));
  EXPECT_EQ(into.exit_code(), 0) << into.errors();
  EXPECT_EQ(run(in_guest({"cat", "/tmp/tree/sub/empty/sub/tool"}), 60).output, "#!/bin/sh\n");
  // A stream that leads elsewhere, and one that is none.
  EXPECT_EQ(std::system(("cd " + scratch("") + " && echo x >evil && tar c --transform 's,^,../../,' -P -f evil.tar evil").c_str()), 0);
  for (const std::string& bad : {text_of(scratch("evil.tar")), std::string(2000, 'n')}) {
    Command evil({"cp", "-", "t:/tmp/tree"}, Command::Input::pipe);
    evil.send(bad);
    evil.close_input();
    ASSERT_TRUE(evil.wait_end(60));
    EXPECT_EQ(evil.exit_code(), 125);
  }
  EXPECT_EQ(run(in_guest({"ls", "/evil", "/tmp/evil"}), 60).output, "");
}

// What a guest sends must not leave the place it goes to.
TEST_F(Agent, AGuestsLinksLeadNowhere) {
  const std::string place = scratch("place");
  fs::remove_all(place);
  fs::create_directories(place);
  // The link arrives first, then a folder of the same name with a file.
  ASSERT_EQ(run(in_guest({"sh", "-c", "mkdir -p /tmp/a/x /tmp/b; ln -s / /tmp/b/x; echo got >/tmp/a/x/nagaya-escaped"}), 60).code, 0);
  EXPECT_EQ(run({"cp", "t:/tmp/b/.", place}, 60).code, 0);
  EXPECT_EQ(run({"cp", "t:/tmp/a/.", place}, 60).code, 125);
  EXPECT_FALSE(fs::exists("/nagaya-escaped"));
  EXPECT_EQ(fs::read_symlink(place + "/x"), "/");
}

// A saved machine's connections are gone; its agent listens on, and its clock is set right.
TEST(AgentSaved, GoesOnWithTheRightTime) {
  const std::string saved = scratch("agent.state");
  const std::string socket = socket_of("s");
  {
    Command command(machine("s", std::string(start_agent) + "echo agent-$((1)); sleep 100000", {"--save-on-signal", saved, "--save-and-exit"}));
    ASSERT_TRUE(command.wait_for("agent-1", 120)) << command.output() << command.errors();
    ASSERT_EQ(run({"exec", "s", "date", "-s", "2001-02-03 04:05:06"}, 60).code, 0);
    Command waiting({"exec", "s", "sh", "-c", "echo started; sleep 1000"});
    ASSERT_TRUE(waiting.wait_for("started", 60));
    command.signal(SIGUSR1);
    ASSERT_TRUE(command.wait_end(60));
    EXPECT_EQ(command.exit_code(), 0) << command.errors();
    // The host's end of the connection goes with the machine's process.
    ASSERT_TRUE(waiting.wait_end(30));
    EXPECT_EQ(waiting.exit_code(), 125);
  }
  Command restored({"run", "--restore", saved, "--engine", "soft", "--no-reboot", "--vsock", "path=" + socket});
  long difference = 1 << 30;
  for (int i = 0; i < 100 && std::labs(difference) > 5; ++i) {
    difference = std::atol(run({"exec", "s", "date", "+%s"}, 60).output.c_str()) - static_cast<long>(std::time(nullptr));
    sleep_for(0.1);
  }
  EXPECT_LE(std::labs(difference), 5) << restored.output() << restored.errors();
  // The connection from before is no more, and what ran there has ended.
  EXPECT_EQ(run({"exec", "s", "sh", "-c", "pgrep -f 'sleep 100[0]$'"}, 60).output, "");
  EXPECT_EQ(run({"exec", "s", "poweroff", "-f"}, 60).code / 128, 0);
  ASSERT_TRUE(restored.wait_end(60));
  EXPECT_EQ(restored.exit_code(), 0) << restored.errors();
}

}  // namespace
}  // namespace nagaya::system_test
