// What Debian's drivers do with our console and our balloon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

int connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (int i = 0; i < 100 && ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0; ++i) sleep_for(0.1);
  return fd;
}

std::string ask(int fd, const std::string& line) {
  if (::send(fd, (line + "\n").data(), line.size() + 1, MSG_NOSIGNAL) < 0) return "";
  std::string out;
  for (char c = 0; c != '\n' && ::read(fd, &c, 1) == 1;) out += c;
  return out;
}

Words devices_run(const std::string& commands, const Words& more) {
  Words words{"run", "--kernel", debian("vmlinuz-amd64"), "--initrd", debian("initrd-amd64-devices"), "-m", "512M", "--engine", "soft", "--no-reboot", "--append",
              "console=ttyS0 quiet panic=-1 guest_run=\"modprobe virtio_pci; " + commands + "\""};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// Host memory behind the guest's RAM, in MiB.
long guest_memory(pid_t vmm) {
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(vmm) + "/fd")) {
    std::error_code ignored;
    if (fs::read_symlink(entry.path(), ignored).string().find("guest-ram") == std::string::npos) continue;
    struct stat info {};
    if (::stat(entry.path().c_str(), &info) == 0) return info.st_blocks / 2048;
  }
  return -1;
}

TEST(Devices, ConsolePorts) {
  const std::string port = scratch("port.sock");
  Command command(devices_run("modprobe virtio_console; until [ -e /dev/hvc0 ]; do sleep 0.1; done; "
                              "for i in /sys/class/virtio-ports/*; do read n <$i/name && ln -s /dev/${i##*/} /dev/$n; done; "
                              "echo name=$(ls /dev/org.nagaya*); echo on-hvc >/dev/hvc0; (echo to-host; read line; echo got-$line) <>/dev/org.nagaya.test >&0; stty size </dev/hvc0; sleep 1",
                              {"--console", "file:" + scratch("hvc0"), "--console", "unix:" + port + ",name=org.nagaya.test"}));
  const int fd = connect_to(port);
  std::string seen;
  for (char c; seen.find("to-host\n") == std::string::npos && ::read(fd, &c, 1) == 1;) seen += c;
  EXPECT_THAT(seen, HasSubstr("to-host"));
  EXPECT_EQ(ask(fd, "hello"), "got-hello\n");
  ASSERT_TRUE(command.wait_end(120)) << command.output();
  EXPECT_EQ(command.exit_code(), 0) << command.errors();
  EXPECT_THAT(command.output(), HasSubstr("name=/dev/org.nagaya.test"));
  std::string text(64, 0);
  FILE* file = std::fopen(scratch("hvc0").c_str(), "r");
  ASSERT_NE(file, nullptr);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  EXPECT_THAT(text, HasSubstr("on-hvc"));
  ::close(fd);
}

TEST(Devices, AConsoleFollowsItsTerminal) {
  Command command(devices_run("modprobe virtio_console; until [ -e /dev/hvc0 ]; do sleep 0.1; done; exec </dev/hvc0 >/dev/hvc0 2>&1; "
                              "echo ready; while read line; do [ $line = end ] && break; echo size $(stty size); done",
                              {"--console", "stdio"}),
                  Command::Input::terminal);
  const winsize size{31, 97, 0, 0};
  ::ioctl(command.terminal(), TIOCSWINSZ, &size);
  ASSERT_TRUE(command.wait_for("ready", 120)) << command.output();
  bool fits = false;
  for (int i = 0; i < 20 && !fits; ++i) {
    const std::size_t from = command.output().size();
    command.send("x\n");
    fits = command.wait_for("size 31 97", 2, from);
  }
  EXPECT_TRUE(fits) << command.output();
  const winsize other{22, 66, 0, 0};
  ::ioctl(command.terminal(), TIOCSWINSZ, &other);
  sleep_for(0.5);
  command.send("x\n");
  EXPECT_TRUE(command.wait_for("size 22 66", 30)) << command.output();
  command.send("end\n");
  ASSERT_TRUE(command.wait_end(60));
  EXPECT_EQ(command.exit_code(), 0);
}

TEST(Devices, BalloonGivesMemoryBackToTheHost) {
  const std::string control = scratch("balloon.ctl");
  // What the balloon takes was in use before: a file of 200 MiB that is gone again.
  Command command(devices_run("modprobe virtio_balloon; mkdir /m; mount -t tmpfs -o size=400m tmpfs /m; dd if=/dev/urandom of=/m/x bs=1M count=200 2>/dev/null; rm /m/x; echo filled-$((1)); "
                              "sleep 100000",
                              {"--balloon", "free-page-reporting=off", "--control", control}));
  ASSERT_TRUE(command.wait_for("filled-1", 120)) << command.output() << command.errors();
  const pid_t vmm = command.vmm_pid();
  const int fd = connect_to(control);
  const long full = guest_memory(vmm);
  ASSERT_GT(full, 200);
  // Down: the guest keeps 320 MiB of 512.
  EXPECT_THAT(ask(fd, R"({"command":"balloon","target":335544320})"), HasSubstr("\"ok\":true"));
  std::string told;
  for (int i = 0; i < 200; ++i) {
    told = ask(fd, R"({"command":"balloon"})");
    if (told.find("now: 201326592 bytes") != std::string::npos) break;
    sleep_for(0.1);
  }
  EXPECT_THAT(told, HasSubstr("now: 201326592 bytes"));
  EXPECT_THAT(told, HasSubstr("free memory (bytes)"));
  EXPECT_LE(guest_memory(vmm), 322);
  // Up again: all is the guest's.
  EXPECT_THAT(ask(fd, R"({"command":"balloon","target":536870912})"), HasSubstr("\"ok\":true"));
  for (int i = 0; i < 200 && ask(fd, R"({"command":"balloon"})").find("now: 0 bytes") == std::string::npos; ++i) sleep_for(0.1);
  EXPECT_THAT(ask(fd, R"({"command":"balloon"})"), HasSubstr("now: 0 bytes"));
  EXPECT_THAT(ask(fd, R"({"command":"balloon","target":536870913})"), HasSubstr("\"ok\":false"));
  ::close(fd);
}

TEST(Devices, FreedPagesAreReported) {
  Command command(devices_run("modprobe virtio_balloon; mkdir /m; mount -t tmpfs -o size=400m tmpfs /m; dd if=/dev/urandom of=/m/x bs=1M count=300 2>/dev/null; echo filled-$((1)); "
                              "sleep 3; rm /m/x; echo freed-$((1)); sleep 100000",
                              {"--balloon", "on"}));
  ASSERT_TRUE(command.wait_for("filled-1", 120)) << command.output() << command.errors();
  const long full = guest_memory(command.vmm_pid());
  EXPECT_GT(full, 300);
  ASSERT_TRUE(command.wait_for("freed-1", 60));
  long now = full;
  for (int i = 0; i < 300 && now > full - 250; ++i) {
    now = guest_memory(command.vmm_pid());
    sleep_for(0.1);
  }
  EXPECT_LE(now, full - 250);
}

}  // namespace
}  // namespace nagaya::system_test
