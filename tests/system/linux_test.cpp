// Unmodified Debian kernels reach user space, run a command and power off.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ostream>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Boot {
  std::string arch, kernel;
  unsigned cpus, megabytes;
};

// For the test's name.
std::string name_of(const Boot& boot) {
  return boot.arch + "_" + boot.kernel + "_" + std::to_string(boot.cpus) + "cpu_" + std::to_string(boot.megabytes) + "M";
}

void PrintTo(const Boot& boot, std::ostream* out) { *out << name_of(boot); }

class LinuxBoot : public ::testing::TestWithParam<Boot> {};
INSTANTIATE_TEST_SUITE_P(Matrix, LinuxBoot,
                         ::testing::Values(Boot{"amd64", "vmlinuz", 1, 128}, Boot{"amd64", "vmlinuz", 2, 128}, Boot{"amd64", "vmlinuz", 1, 512},
                                           Boot{"amd64", "vmlinuz", 2, 512}, Boot{"amd64", "vmlinuz", 1, 3000}, Boot{"amd64", "vmlinuz", 1, 6144},
                                           Boot{"amd64", "vmlinuz", 2, 6144}, Boot{"amd64", "vmlinux", 1, 128}, Boot{"amd64", "vmlinux", 2, 512},
                                           Boot{"amd64", "vmlinux", 2, 6144}, Boot{"i386", "vmlinuz", 1, 128}, Boot{"i386", "vmlinuz", 2, 512},
                                           Boot{"i386", "vmlinuz", 1, 3000}, Boot{"i386", "vmlinux", 1, 512}),
                         [](const auto& info) { return name_of(info.param); });

// The number after "NAME=" in the guest's output.
long number_after(const std::string& text, const std::string& name) {
  std::size_t at = text.find(name + "=");
  return at == std::string::npos ? -1 : std::strtol(text.c_str() + at + name.size() + 1, nullptr, 10);
}

TEST_P(LinuxBoot, ReachesUserSpaceAndPowersOff) {
  const Boot& boot = GetParam();
  // The patterns must not match themselves on the kernel command line, which the kernel logs.
  Words command = debian_run(
      "echo cpus=$(nproc); echo memory=$(awk '/MemTotal/ {print $2}' /proc/meminfo); echo machine=$(uname -m); "
      "echo warnings=$(dmesg | grep -c -e 'Call Trac[e]' -e 'BUG[:]' -e 'unchecked MS[R]' -e 'soft locku[p]'); dmesg | grep -A9 -e 'BUG[:]' -e 'unchecked MS[R]'",
      {"-m", std::to_string(boot.megabytes) + "M", "-c", std::to_string(boot.cpus), "--engine", "soft"}, boot.arch, boot.kernel);
  Outcome outcome = run(command, 240);
  EXPECT_EQ(outcome.code, 0) << outcome.errors << outcome.output;
  EXPECT_EQ(number_after(outcome.output, "cpus"), static_cast<long>(boot.cpus)) << outcome.output;
  long megabytes = number_after(outcome.output, "memory") / 1024;
  // A 32-bit kernel without PAE sees what lies below 4 GiB, and that only.
  EXPECT_LE(megabytes, static_cast<long>(boot.megabytes));
  EXPECT_GE(megabytes, static_cast<long>(boot.megabytes) * 7 / 10);
  EXPECT_EQ(number_after(outcome.output, "warnings"), 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr(boot.arch == "amd64" ? "machine=x86_64" : "machine=i686"));
}

// The kernel unpacks itself, as on a PC.
TEST(Linux, DecompressesInTheGuest) {
  Outcome outcome = run(debian_run("echo done", {"-m", "512M", "--engine", "soft", "--decompress-in-guest"}), 240);
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("done"));
}

TEST(Linux, RebootEndsOrStartsAgain) {
  Words words = debian_run("echo up", {"-m", "256M", "--engine", "soft"});
  for (std::string& word : words)
    if (word.find("guest_run") != std::string::npos) word += " guest_end=reboot";
  EXPECT_EQ(run(words, 240).code, 96);
  // Without --no-reboot it comes up again.
  std::erase(words, "--no-reboot");
  Command command(words);
  ASSERT_TRUE(command.wait_for("up", 240)) << command.errors();
  EXPECT_TRUE(command.wait_for("up", 240, command.output().find("up") + 2)) << command.errors();
}

TEST(Linux, PanicEndsInAReset) {
  Words words = debian_run("", {"-m", "256M", "--engine", "soft"});
  for (std::string& word : words)
    if (word.starts_with("console=")) word += " rdinit=/absent panic=-1";
  Outcome outcome = run(words, 240);
  EXPECT_EQ(outcome.code, 96) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("Kernel panic"));
}

TEST(Linux, ShellOnTheConsole) {
  Words words = debian_run("", {"-m", "256M", "-c", "2", "--engine", "soft"});
  Command command(words, Command::Input::terminal);
  ASSERT_TRUE(command.wait_for("/ #", 240)) << command.output();
  command.send("echo $((6 * 7)) answers\n");
  EXPECT_TRUE(command.wait_for("42 answers", 60)) << command.output();
  // Ctrl-C interrupts what runs in the guest.
  command.send("sleep 1000\n");
  sleep_for(1);
  command.send("\x03");
  command.send("echo $((5 * 5)) again\n");
  EXPECT_TRUE(command.wait_for("25 again", 60)) << command.output();
  command.send("exit\n");
  ASSERT_TRUE(command.wait_end(120));
  EXPECT_EQ(command.exit_code(), 0);
}

// The promise of SPECIFICATION.md: an idle guest costs the host under 2 % of a core.
TEST(Linux, IdleGuestCostsNothing) {
  for (const char* cpus : {"1", "2"}) {
    Command command(debian_run("echo idle; sleep 1000", {"-m", "256M", "-c", cpus, "--engine", "soft"}));
    ASSERT_TRUE(command.wait_for("idle", 240)) << command.errors();
    pid_t vmm = command.vmm_pid();
    ASSERT_GT(vmm, 0);
    sleep_for(5);  // the kernel ends what it put off during boot
    double before = cpu_seconds(vmm);
    constexpr double span = 10;
    sleep_for(span);
    double share = (cpu_seconds(vmm) - before) / span;
    EXPECT_LT(share, 0.02) << cpus << " vCPUs";
  }
}

// Some hosts' KVM emulates guest kernel code and lacks parts of it: there an unmodified kernel gets as far as its first
// messages, under any monitor. Where KVM is whole, the same kernel must reach user space.
TEST(Linux, KvmPath) {
  const std::string health = run({"doctor", "-f", "csv"}, 60).output;
  if (health.find("engine-kvm,missing") != std::string::npos) GTEST_SKIP() << "this host has no KVM";
  const bool whole = health.find("engine-kvm,ok") != std::string::npos;
  Command command({"run", "--kernel", debian("vmlinux-amd64"), "--initrd", debian("initrd-amd64"), "--protocol", "pvh", "--engine", "kvm", "-m",
                   "128M", "--no-reboot", "--append", "console=ttyS0 earlyprintk=ttyS0 guest_run=\"echo all the way\""});
  EXPECT_TRUE(command.wait_for("Linux version", 240)) << command.errors();
  if (whole) {
    EXPECT_TRUE(command.wait_for("all the way", 120)) << command.errors() << command.output();
  }
}

// Many processes, signals, files and pipes: what a boot alone does not touch.
TEST(Linux, WorkInUserSpace) {
  const std::string work =
      "i=0; while [ $i -lt 200 ]; do (exit 3); [ $? = 3 ] || echo wrong; i=$((i+1)); done; "
      "seq 1 20000 | sort -r | sort -n | md5sum; dd if=/dev/zero bs=1M count=32 2>/dev/null | sha256sum; "
      "seq 1 5000 | gzip | gunzip | md5sum";
  for (const char* cpus : {"1", "2"}) {
    Outcome outcome = run(debian_run(work, {"-m", "256M", "-c", cpus, "--engine", "soft"}), 300);
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    EXPECT_THAT(outcome.output, Not(HasSubstr("wrong")));
    // What the same commands give on any Linux.
    for (const char* sum : {"e071f707df7bbeee2a6a1eb48011ddd0", "83ee47245398adee79bd9c0a8bc57b821e92aba10f5f9ade8a5d1fae4d8c4302",
                            "a5a208cd26b07cadade3450fe14d1d93"}) {
      EXPECT_THAT(outcome.output, HasSubstr(sum)) << cpus << " vCPUs";
    }
  }
}

}  // namespace
}  // namespace nagaya::system_test
