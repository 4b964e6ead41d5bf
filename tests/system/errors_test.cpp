// Bad inputs: exit code 125, a message that says what and why, nothing on standard output, nothing left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;

std::string file(const std::string& name, const std::string& content) {
  std::string path = scratch(name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void refused(const Words& words, const std::string& what) {
  Outcome outcome = run(words, 60);
  std::string line;
  for (const std::string& word : words) line += word + " ";
  EXPECT_EQ(outcome.code, 125) << line << outcome.errors;
  EXPECT_EQ(outcome.output, "") << line;
  EXPECT_THAT(outcome.errors, HasSubstr(what)) << line;
  EXPECT_THAT(outcome.errors, HasSubstr("nagaya: ")) << line;
}

Words kernel(const std::string& path, const Words& more = {}) {
  Words words{"run", "--engine", "soft", "-m", "64M", "--kernel", path};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Errors, CommandLine) {
  refused({"rnu"}, "did you mean 'nagaya run'");
  refused({"run"}, "nothing to run");
  refused({"run", "--kernal", "x"}, "did you mean '--kernel'");
  refused({"run", "--kernel"}, "kernel");
  refused({"run", "surplus"}, "surplus");
  refused(kernel("x", {"-m", "12Q"}), "'Q' is no unit");
  refused(kernel("x", {"-m", "512"}), "512M");
  refused(kernel("x", {"-m", "4096T"}), "memory");
  refused(kernel("x", {"-c", "0"}), "1 to 255");
  refused(kernel("x", {"-c", "1000"}), "1 to 255");
  refused(kernel("x", {"--engine", "tcg"}), "auto, kvm, soft");
  refused(kernel("x", {"--cpu", "386"}), "portable");
  refused(kernel("x", {"--name", "a/b"}), "name");
  refused({"completion", "tcsh"}, "bash, zsh, fish");
  refused({"help", "rnu"}, "did you mean");
}

TEST(Errors, Kernels) {
  refused(kernel(scratch("absent")), "No such file");
  refused(kernel("/"), "irectory");
  refused(kernel(file("empty", "")), "empty");
  refused(kernel(file("text", std::string(100000, 'x'))), "text");
  refused(kernel(file("short-elf", "\177ELF\1\1\1")), "short-elf");
  // ELF and bzImage headers whose content is cut off.
  std::string elf = content_of(small_guest("debug_exit"));
  refused(kernel(file("cut-elf", elf.substr(0, 200))), "cut-elf");
  std::string header(4096, '\0');
  header.replace(0x1f1, 1, "\x04");
  header.replace(0x1fe, 2, "\x55\xaa");
  header.replace(0x202, 4, "HdrS");
  header.replace(0x211, 1, "\x01");
  header.replace(0x206, 2, std::string("\x0f\x02", 2));
  refused(kernel(file("cut-bzimage", header)), "cut-bzimage");
}

TEST(Errors, HostileElfHeaders) {
  // Every field of the ELF header and of the program headers set to all ones, one byte pair at a time: an error or a guest
  // that ends some way, never a crash of ours.
  std::string elf = content_of(small_guest("debug_exit"));
  for (std::size_t at = 16; at < 52 + 32; at += 4) {
    std::string bad = elf;
    bad.replace(at, 4, "\xff\xff\xff\xff");
    Outcome outcome = run(kernel(file("hostile", bad), {"--debug-exit", "--no-reboot", "--serial", "null"}), 60);
    EXPECT_TRUE(outcome.code == 125 || outcome.code == 98 || outcome.code == 1 || outcome.code == 100)
        << "offset " << at << ": " << outcome.code << " " << outcome.errors;
  }
}

TEST(Errors, OtherFiles) {
  std::string good = small_guest("debug_exit");
  refused(kernel(good, {"--initrd", scratch("absent")}), "No such file");
  refused(kernel(good, {"--module", scratch("absent") + " args"}), "No such file");
  refused(kernel(good, {"--serial", "file:" + scratch("absent/log")}), "absent/log");
  refused(kernel(good, {"--serial", "unix:" + scratch("absent/socket")}), "absent/socket");
  refused(kernel(good, {"--control", scratch(std::string(200, 'x'))}), "xxx");
  refused(kernel(good, {"--fw-cfg", "name=opt/x,file=" + scratch("absent")}), "absent");
  refused({"run", "--engine", "soft", "--firmware", scratch("absent")}, "No such file");
  refused({"run", "--engine", "soft", "--firmware", file("odd-firmware", "x")}, "odd-firmware");
}

TEST(Errors, TooLargeForTheGuest) {
  std::string path = file("large", "");
  std::filesystem::resize_file(path, 256u << 20);
  refused(kernel(small_guest("debug_exit"), {"--module", path}), "large");
}

TEST(Errors, SavedMachines) {
  auto restore = [](const std::string& path) { return Words{"run", "--engine", "soft", "--restore", path}; };
  refused(restore(scratch("absent")), "No such file");
  refused(restore(file("no-state", "this is no saved machine, whatever its length may be")), "no-state");
  refused(restore(file("empty-state", "")), "empty-state");
}

}  // namespace
}  // namespace nagaya::system_test
