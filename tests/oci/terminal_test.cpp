// Terminals: by console socket, and relayed by run and exec themselves.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;

/// A console socket as conmon has it; gives the master it receives.
class ConsoleSocket {
 public:
  explicit ConsoleSocket(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd_, 1) != 0) std::abort();
  }
  ~ConsoleSocket() { ::close(fd_); }
  int master() const {
    pollfd item{fd_, POLLIN, 0};
    if (::poll(&item, 1, 10'000) <= 0) return -1;
    const int connection = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    char name[256];
    iovec part{name, sizeof name};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    int fd = -1;
    if (::recvmsg(connection, &message, 0) > 0 && CMSG_FIRSTHDR(&message) != nullptr)
      std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    ::close(connection);
    return fd;
  }

 private:
  int fd_;
};

/// What comes from a terminal until `text` does, its end, or ten seconds.
std::string read_until(int fd, const std::string& text) {
  std::string out;
  pollfd item{fd, POLLIN, 0};
  while (out.find(text) == out.npos && ::poll(&item, 1, 10'000) > 0) {
    char buffer[1024];
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count <= 0) break;
    out.append(buffer, static_cast<std::size_t>(count));
  }
  return out;
}

TEST(OciTerminal, ConsoleSocketGetsTheMaster) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["terminal"] = true;
  b.config["process"]["consoleSize"] = {{"height", 33}, {"width", 101}};
  b.script("tty; stty size; [ -c /dev/console ] && echo console; read line; echo got $line");
  b.write_config();
  const std::string path = b.path + "/console";
  ConsoleSocket socket(path);
  ASSERT_EQ(b.oci({"create", "-b", b.path, "--console-socket", path, "c"}).code, 0);
  const int master = socket.master();
  ASSERT_GE(master, 0);
  ASSERT_EQ(b.oci({"start", "c"}).code, 0);
  EXPECT_THAT(read_until(master, "console\r\n"), HasSubstr("/dev/pts/0\r\n33 101\r\nconsole\r\n"));
  ASSERT_EQ(::write(master, "word\n", 5), 5);
  EXPECT_THAT(read_until(master, "got word"), HasSubstr("got word"));
  ::close(master);
  EXPECT_TRUE(b.wait_status("c", "stopped"));
}

TEST(OciTerminal, ConsoleSocketOfExec) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 100");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  const std::string path = b.path + "/console";
  ConsoleSocket socket(path);
  ASSERT_EQ(b.oci({"exec", "-d", "-t", "--console-socket", path, "c", "sh", "-c", "tty; sleep 1"}).code, 0);
  const int master = socket.master();
  ASSERT_GE(master, 0);
  EXPECT_THAT(read_until(master, "pts"), HasSubstr("/dev/pts/0"));
  ::close(master);
}

TEST(OciTerminal, WithoutTakerItIsAnError) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["terminal"] = true;
  b.script("true");
  b.write_config();
  EXPECT_THAT(b.oci({"create", "-b", b.path, "c"}).err, HasSubstr("--console-socket"));
  EXPECT_NE(b.oci({"create", "-b", b.path, "--console-socket", "/proc/nowhere", "c"}).code, 0);
  EXPECT_TRUE(b.state("c").is_null());
}

/// run with a terminal of our own: what it relays, that sizes follow, and that the terminal is as it was afterwards.
TEST(OciTerminal, RunRelays) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["terminal"] = true;
  b.script("trap 'stty size' WINCH; stty size; echo ready; until read line; do :; done; echo got $line; exit 5");
  b.write_config();
  int master = -1, slave = -1;
  winsize size{20, 70, 0, 0};
  ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
  termios before{}, after{};
  ::tcgetattr(slave, &before);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();
    ::ioctl(slave, TIOCSCTTY, 0);
    for (int fd = 0; fd < 3; ++fd) ::dup2(slave, fd);
    ::execl(runtime().c_str(), "nagaya-oci", "--root", b.root.c_str(), "run", "-b", b.path.c_str(), "c", nullptr);
    ::_exit(127);
  }
  EXPECT_THAT(read_until(master, "ready"), HasSubstr("20 70"));
  size.ws_row = 40;
  ::ioctl(master, TIOCSWINSZ, &size);
  // The shell's `read` ends early when the signal comes: the word waits for its answer.
  EXPECT_THAT(read_until(master, "40 70"), HasSubstr("40 70"));
  ASSERT_EQ(::write(master, "word\r", 5), 5);
  EXPECT_THAT(read_until(master, "got word"), HasSubstr("got word"));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 5);
  ::tcgetattr(slave, &after);
  EXPECT_EQ(before.c_lflag, after.c_lflag);
  ::close(master);
  ::close(slave);
}

TEST(OciTerminal, RelayWithoutATerminalOfOurs) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["terminal"] = true;
  b.script("tty; cat; echo end");
  b.write_config();
  const Outcome outcome = b.oci({"run", "-b", b.path, "c"}, "line\n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("/dev/pts/0"));
  EXPECT_THAT(outcome.out, HasSubstr("end"));
  b.config["process"]["terminal"] = false;
  b.script("sleep 100");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  const Outcome inside = b.oci({"exec", "-t", "c", "sh", "-c", "tty; exit 9"});
  EXPECT_EQ(inside.code, 9);
  EXPECT_THAT(inside.out, HasSubstr("/dev/pts/0"));
}

}  // namespace
}  // namespace nagaya::oci_test
