#include <gtest/gtest.h>

#include "proto/exit_codes.hpp"
#include "proto/vm_command.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::proto {
namespace {

VmConfig full() {
  VmConfig c;
  c.name = "web-1";
  c.memory = 512 * MiB;
  c.vcpus = 2;
  c.engine = "soft";
  c.soft = {64 * MiB, "always", "engine.log", true, true};
  c.kernel = "k", c.initrd = "i", c.append = "console=ttyS0 \"quoted\"\n", c.modules = {"m a b"};
  c.protocol = "multiboot";
  c.serial = {{CharConfig::Type::stdio, ""}, {CharConfig::Type::file, "log"}};
  c.debug_console = CharConfig{CharConfig::Type::stdout_only, ""};
  c.debug_exit = c.testdev = c.no_reboot = c.decompress_in_guest = true;
  c.fw_cfg = {{"opt/a", "text", ""}, {"opt/b", std::nullopt, "file"}};
  c.disks = {{"d", "qcow2", true, "root", {"/base"}, {100, 200, 4096, 8192}, "threads", "split"}, {"e"}}, c.rng = true;
  c.nets = {{.fd = 5, .mac = "52:54:00:00:00:01", .mtu = 9000, .rate_in = 1, .rate_out = 2}, {.tap = "tap0", .queues = 4}};
  c.consoles = {{{CharConfig::Type::pty, ""}, "", true}, {{CharConfig::Type::file, "f"}, "org.port", false}};
  c.vsock = VsockConfig{7, "v.sock"};
  c.shares = {{"data", "/srv", true}};
  c.pmems = {{"p.img", true}};
  c.balloon = BalloonConfig{false, true};
  c.save_file = "s", c.save_then_exit = true, c.control = "/tmp/x";
  return c;
}

TEST(VmConfig, SurvivesJson) {
  const auto back = VmConfig::from_json(full().to_json());
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, full());
}

TEST(VmConfig, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "not valid JSON"},
      {"[]", "not a JSON object"},
      {R"({"kernel":"k","colour":1})", "unknown key 'colour'"},
      {R"({"kernel":7})", "'kernel' must be a string"},
      {R"({"kernel":"k","memory":-1})", "'memory' must be a whole number"},
      {R"({"kernel":"k","memory":1e30})", "'memory' must be a whole number"},
      {R"({"kernel":"k","memory":1000000})", "whole MiB"},
      {R"({"kernel":"k","memory":1048576})", "from 2 MiB"},
      {R"({"kernel":"k","vcpus":0})", "1 to 255"},
      {R"({"kernel":"k","vcpus":4294967298})", "'vcpus'"},
      {R"({"kernel":"k","engine":"xen"})", "one of auto, kvm, soft"},
      {R"({"kernel":"k","soft":{"code_cache":524288}})", "from 1 MiB"},
      {R"({"kernel":"k","soft":{"direct":"never"}})", "auto, off or always"},
      {R"({"kernel":"k","soft":{"code_cache":2147483648}})", "to 1 GiB"},
      {R"({"kernel":"k","soft":{"code_cache":1048577}})", "whole MiB"},
      {R"({"kernel":"k","soft":{"count_blocks":true}})", "name a file"},
      {R"({"kernel":"k","soft":{"jit":1}})", "unknown key 'jit'"},
      {R"({"kernel":"k","soft":1})", "must be an object"},
      {R"({"kernel":"k","engine":"kvm","soft":{"perf_map":true}})", "translates nothing"},
      {R"({"kernel":"k","serial":[{"type":"tcp"}]})", "no such choice"},
      {R"({"kernel":"k","serial":[{"type":"file"}]})", "needs a 'path'"},
      {R"({"kernel":"k","serial":[{"type":"stdio"},{"type":"stdio"}]})", "only one port"},
      {R"({"kernel":"k","serial":{}})", "must be a list"},
      {R"({"kernel":"k","disks":{}})", "must be a list"},
      {R"({"kernel":"k","disks":[{"format":"raw"}]})", "needs a 'path'"},
      {R"({"kernel":"k","disks":[{"path":"d","format":"vmdk"}]})", "one of raw, qcow2"},
      {R"({"kernel":"k","disks":[{"path":"d","serial":"123456789012345678901"}]})", "at most 20"},
      {R"({"kernel":"k","disks":[{"path":"d","iops_burst":5}]})", "a burst needs a limit"},
      {R"({"kernel":"k","disks":[{"path":"d","io":"aio"}]})", "one of auto, threads, io_uring"},
      {R"({"kernel":"k","disks":[{"path":"d","io":"io_uring","format":"qcow2"}]})", "only raw"},
      {R"({"kernel":"k","disks":[{"path":"d","ring":"round"}]})", "one of packed, split"},
      {R"({"kernel":"k","nets":[{}]})", "exactly one of"},
      {R"({"kernel":"k","nets":[{"fd":3,"tap":"t"}]})", "exactly one of"},
      {R"({"kernel":"k","nets":[{"fd":3,"queues":2}]})", "needs a 'tap'"},
      {R"({"kernel":"k","nets":[{"tap":"../../etc"}]})", "without '/'"},
      {R"({"kernel":"k","nets":[{"tap":"t","mac":"01:00:00:00:00:00"}]})", "no multicast"},
      {R"({"kernel":"k","consoles":[{"type":"pty","terminal":false}]})", "needs a 'name'"},
      {R"({"kernel":"k","serial":[{"type":"stdio"}],"consoles":[{"type":"stdio"}]})", "only one port"},
      {R"({"kernel":"k","vsock":{"cid":2,"path":"v"}})", "3 to 4294967294"},
      {R"({"kernel":"k","shares":[{"tag":"a b","path":"/"}]})", "printable"},
      {R"({"kernel":"k","pmems":[{}]})", "needs a 'path'"},
      {R"({"kernel":"k","name":"../x"})", "name '../x'"},
      {R"({"kernel":"k","fw_cfg":[{"name":"a"}]})", "either 'string' or 'file'"},
      {R"({"initrd":"i","firmware":"f"})", "need a kernel"},
      {R"({"kernel":"k\u0000x"})", "zero byte"},
      {"{}", "nothing to start"},
  };
  for (const auto& [text, wanted] : cases) {
    const auto result = VmConfig::from_json(text);
    ASSERT_FALSE(result) << text;
    EXPECT_NE(result.error().message().find(wanted), std::string::npos) << text << " → " << result.error().message();
  }
}

TEST(VmOutcome, NumbersTellThemApart) {
  EXPECT_EQ((VmOutcome{Outcome::debug_exit, 33}).exit_code(), 33);
  EXPECT_EQ((VmOutcome{Outcome::debug_exit, 0x1ff}).exit_code(), 255);
  EXPECT_EQ(VmOutcome{Outcome::power_off}.exit_code(), 0);
  EXPECT_EQ(VmOutcome{Outcome::failed}.exit_code(), 125);
  for (const Outcome o : {Outcome::reset, Outcome::triple_fault, Outcome::internal_error}) {
    EXPECT_EQ(VmOutcome{o}.exit_code() % 2, 0);
    EXPECT_NE(VmOutcome{o}.exit_code(), 0);
  }
}

TEST(VmOutcome, SurvivesJson) {
  const VmOutcome out{Outcome::internal_error, -3, "odd \"thing\"\n\xff"};
  const auto back = VmOutcome::from_json(out.to_json());
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->outcome, out.outcome);
  EXPECT_EQ(back->value, -3);
  EXPECT_FALSE(VmOutcome::from_json(R"({"outcome":"what"})"));
}

TEST(VmCommand, SurvivesJson) {
  const auto back = VmCommand::from_json(VmCommand{VmCommand::Verb::save, "f", true}.to_json());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->file, "f");
  EXPECT_TRUE(back->then_exit);
  const auto resize = VmCommand::from_json(VmCommand{.verb = VmCommand::Verb::resize_disk, .disk = "disk1", .size = 4096}.to_json());
  ASSERT_TRUE(resize);
  EXPECT_EQ(resize->disk, "disk1");
  EXPECT_EQ(resize->size, 4096u);
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"resize_disk","disk":"disk0"})"));
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"resize_disk","disk":"disk0","size":-1})"));
  const auto link = VmCommand::from_json(VmCommand{.verb = VmCommand::Verb::link, .card = "net1", .up = false}.to_json());
  ASSERT_TRUE(link);
  EXPECT_EQ(link->card, "net1");
  EXPECT_FALSE(link->up);
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"link"})"));
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"link","card":"net0","up":1})"));
  EXPECT_EQ(VmCommand::from_json(VmCommand{.verb = VmCommand::Verb::balloon, .target = 4096}.to_json())->target, 4096u);
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"balloon"})")->target);
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"balloon","target":-1})"));
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"save"})"));
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"pause","file":"x"})"));
  EXPECT_FALSE(VmCommand::from_json(R"({"command":"dance"})"));
  const auto answer = VmAnswer::from_json(VmAnswer{true, "", "paused", "no space", "soft", 2, 4096, "x"}.to_json());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->engine, "soft");
  EXPECT_EQ(answer->reason, "no space");
}

}  // namespace
}  // namespace nagaya::proto
