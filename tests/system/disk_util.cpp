#include "disk_util.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "programs/pattern.h"

namespace nagaya::system_test {
namespace {

std::string programs_initrd(const std::string& base) {
  const std::string path = scratch("programs-" + base);
  if (std::filesystem::exists(path)) return path;
  const char* programs = std::getenv("NAGAYA_PROGRAMS");
  std::ofstream out(path, std::ios::binary);
  // The kernel unpacks several archives one after the other.
  for (const std::string& part : {debian(base), std::string(programs != nullptr ? programs : "")}) {
    out << std::ifstream(part, std::ios::binary).rdbuf();
  }
  return path;
}

}  // namespace

Words disk_run(const std::string& commands, const Words& more, const std::string& base) {
  Words words = debian_run("modprobe virtio_pci; modprobe virtio_blk; " + commands, {"-m", base.find("fio") == std::string::npos ? "192M" : "640M", "--engine", "soft"});
  for (std::string& word : words) {
    if (word == debian("initrd-amd64")) word = programs_initrd(base);
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string disk_option(const std::string& path, const std::string& format, const std::string& more) {
  return "path=" + path + ",format=" + format + (more.empty() ? "" : "," + more);
}

void make_disk(const std::string& path, const std::string& format, std::uint64_t bytes, const std::string& options) {
  Words words{"qemu-img", "create", "-q", "-f", format};
  if (!options.empty()) words.insert(words.end(), {"-o", options});
  words.insert(words.end(), {path, std::to_string(bytes)});
  const Outcome made = run_tool(words);
  ASSERT_EQ(made.code, 0) << made.output;
}

namespace {

/// Sends a line, and with it an open file unless `file` is -1; the line that comes back.
std::string exchange(const std::string& socket, const std::string& line, int file) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket.copy(address.sun_path, sizeof address.sun_path - 1);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    iovec part{const_cast<char*>(line.data()), line.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof file)] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (file >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(sizeof file);
      std::memcpy(CMSG_DATA(head), &file, sizeof file);
    }
    if (::sendmsg(fd, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(line.size())) {
      char byte;
      pollfd watched{fd, POLLIN, 0};
      while (::poll(&watched, 1, 30'000) > 0 && ::read(fd, &byte, 1) == 1 && byte != '\n') answer += byte;
    }
  }
  ::close(fd);
  return answer;
}

}  // namespace

std::string control(const std::string& socket, const std::string& command) { return exchange(socket, command + "\n", -1); }

std::string control_save(const std::string& socket, const std::string& path, bool then_exit) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const std::string end = then_exit ? "true" : "false";
  std::string answer = exchange(socket, R"({"command":"save","file":")" + path + R"(","then_exit":)" + end + "}\n", file);
  ::close(file);
  return answer;
}

bool wait_status(const std::string& socket, const std::string& text, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (control(socket, R"({"command":"status"})").find(text) != std::string::npos) return true;
    sleep_for(0.05);
  }
  return false;
}

Outcome run_tool(const Words& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  int out[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return {};
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(out[1], 1);
    ::dup2(out[1], 2);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(out[1]);
  Outcome outcome;
  char buffer[4096];
  for (ssize_t got; (got = ::read(out[0], buffer, sizeof buffer)) > 0;) outcome.output.append(buffer, static_cast<std::size_t>(got));
  ::close(out[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

int image_check(const std::string& path) {
  const Outcome outcome = run_tool({"qemu-img", "check", "-q", "-f", "qcow2", path});
  if (outcome.code != 0 && outcome.code != 3) ADD_FAILURE() << outcome.output;
  return outcome.code;
}

std::string raw_copy(const std::string& path, const std::string& format) {
  if (format == "raw") return path;
  const std::string copy = scratch("copy-of-" + std::filesystem::path(path).filename().string());
  const Outcome outcome = run_tool({"qemu-img", "convert", "-f", format, "-O", "raw", path, copy});
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  return copy;
}

bool holds_pattern(const std::string& raw, std::uint64_t offset, std::uint64_t length, std::uint64_t seed) {
  std::ifstream in(raw, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(offset));
  char block[pattern_block];
  for (std::uint64_t at = offset; at < offset + length; at += pattern_block) {
    if (!in.read(block, pattern_block) || pattern_is(block, seed, at / pattern_block) == 0) return false;
  }
  return true;
}

}  // namespace nagaya::system_test
