#include "cli/run_command.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/parse.hpp"

namespace nagaya::cli {
namespace {

using ::testing::HasSubstr;
using proto::CharConfig;
using proto::VmConfig;
using Words = std::vector<std::string>;

Result<VmConfig> read(const Words& words) {
  CommandSpec run = run_command();
  TRY_ASSIGN(Parsed parsed, parse_arguments(run, words));
  return machine_from_options(parsed);
}

VmConfig machine(const Words& words) {
  auto config = read(words);
  EXPECT_TRUE(config) << (config ? "" : config.error().message());
  return config ? *config : VmConfig{};
}

std::string error(const Words& words) {
  auto config = read(words);
  return config ? "(no error)" : config.error().message();
}

TEST(Run, Defaults) {
  VmConfig config = machine({"--kernel", "k"});
  EXPECT_EQ(config.kernel, "k");
  EXPECT_EQ(config.append, "console=ttyS0");
  EXPECT_EQ(config.engine, "auto");
  ASSERT_EQ(config.serial.size(), 1u);
  EXPECT_EQ(config.serial[0].type, CharConfig::Type::stdio);
  EXPECT_FALSE(config.debug_exit || config.testdev || config.no_reboot);
  EXPECT_FALSE(config.debug_console);
}

TEST(Run, SharesAndPersistentMemoryNeedTheirParts) {
  EXPECT_THAT(error({"--kernel", "k", "--share", "path=/x"}), HasSubstr("tag= is missing"));
  EXPECT_THAT(error({"--kernel", "k", "--share", "tag=x"}), HasSubstr("path= is missing"));
  EXPECT_THAT(error({"--kernel", "k", "--share", "tag=x,path=/x,readonly=maybe"}), HasSubstr("'readonly=maybe' is not understood"));
  EXPECT_THAT(error({"--kernel", "k", "--share", "tag=x,path=/x", "--share", "tag=x,path=/y"}), HasSubstr("two shares have it"));
  EXPECT_THAT(error({"--kernel", "k", "--pmem", "readonly=on"}), HasSubstr("path= is missing"));
  EXPECT_THAT(error({"--kernel", "k", "--pmem", "path=x,size=4"}), HasSubstr("'size=4' is not understood"));
}

TEST(Run, ConsolesSocketsAndBalloon) {
  const VmConfig config = machine({"--kernel", "k", "--console", "stdio", "--console", "unix:/s,name=org.x", "--console", "null,name=y,terminal=on",
                                   "--vsock", "path=/run/v,cid=7", "--balloon", "deflate-on-oom=off"});
  ASSERT_EQ(config.consoles.size(), 3u);
  EXPECT_TRUE(config.consoles[0].terminal);
  EXPECT_EQ(config.serial[0].type, CharConfig::Type::none) << "the terminal is the console's";
  EXPECT_EQ(config.consoles[1].name, "org.x");
  EXPECT_FALSE(config.consoles[1].terminal);
  EXPECT_TRUE(config.consoles[2].terminal);
  EXPECT_EQ(config.vsock->path, "/run/v");
  EXPECT_EQ(config.vsock->cid, 7u);
  EXPECT_FALSE(config.balloon->deflate_on_oom);
  EXPECT_TRUE(config.balloon->free_page_reporting);
  EXPECT_TRUE(machine({"--kernel", "k", "--balloon", "on"}).balloon->deflate_on_oom);
  for (const char* bad : {"--console=stdio,x=1", "--console=nothing", "--console=null,terminal=off", "--vsock=cid=2,path=/x", "--vsock=cid=x,path=/x",
                          "--vsock=cid=3", "--vsock=/x", "--balloon=off", "--balloon=deflate-on-oom=maybe"}) {
    EXPECT_NE(error({"--kernel", "k", bad}), "(no error)") << bad;
  }
  EXPECT_NE(error({"--kernel", "k", "--serial", "stdio", "--console", "stdio"}), "(no error)");
}

TEST(Run, EveryOptionArrives) {
  VmConfig config = machine({"--kernel", "k", "--initrd", "i", "--append", "a", "--append", "b", "-m", "1.5G", "-c", "4",
                             "--engine", "soft", "--code-cache", "64M", "--direct-execution", "always", "--engine-log", "l", "--count-blocks", "--perf-map", "--cpu", "host", "--serial", "file:log", "--serial", "unix:/s", "--debug-exit",
                             "--debug-console", "stdout", "--testdev", "--no-reboot", "--save-on-signal", "f", "--save-and-exit",
                             "--firmware", "w", "--module", "m args", "--protocol", "pvh", "--decompress-in-guest", "--fw-cfg",
                             "name=opt/x,string=a,b", "--disk", "path=a,,b,format=qcow2,readonly=on,serial=s,backing=/b,backing=c,iops=500,iops-burst=50,bps=10M,bps-burst=1M,io=threads,ring=split", "--rng", "--share", "tag=home,path=/srv/a,,b,readonly=on", "--pmem", "path=p", "--control", "c", "--name", "n"});
  VmConfig want;
  want.name = "n";
  want.memory = 1536 * MiB;
  want.vcpus = 4;
  want.engine = "soft";
  want.soft = {64 * MiB, "always", "l", true, true};
  want.cpu = "host";
  want.kernel = "k";
  want.initrd = "i";
  want.append = "a b";
  want.modules = {"m args"};
  want.protocol = "pvh";
  want.decompress_in_guest = true;
  want.firmware = "w";
  want.serial = {{CharConfig::Type::file, "log"}, {CharConfig::Type::socket, "/s"}};
  want.debug_console = CharConfig{CharConfig::Type::stdout_only};
  want.debug_exit = want.testdev = want.no_reboot = want.save_then_exit = true;
  want.fw_cfg = {{"opt/x", "a,b", ""}};
  want.disks = {{"a,b", "qcow2", true, "s", {"/b", "c"}, {500, 50, 10 * MiB, MiB}, "threads", "split"}};
  want.shares = {{"home", "/srv/a,b", true}};
  want.pmems = {{"p", false}};
  want.rng = true;
  want.save_file = "f";
  want.control = "c";
  EXPECT_EQ(config, want);
}

TEST(Run, ErrorsSayWhatAndWhy) {
  EXPECT_THAT(error({}), HasSubstr("nothing to run"));
  EXPECT_THAT(error({"--kernel", ""}), HasSubstr("nothing to run"));
  EXPECT_THAT(error({"--kernel", "k", "--disk", "path=d"}), HasSubstr("format= is missing"));
  EXPECT_THAT(error({"--kernel", "k", "--disk", "format=raw"}), HasSubstr("path= is missing"));
  EXPECT_THAT(error({"--kernel", "k", "--disk", "path=d,format=raw,cache=off"}), HasSubstr("'cache=off' is not understood"));
  EXPECT_THAT(error({"--kernel", "k", "--disk", "path=d,format=raw,iops=1.5"}), HasSubstr("--disk, iops: '1.5'"));
  EXPECT_THAT(error({"--kernel", "k", "--disk", "path=d,format=raw,bps=fast"}), HasSubstr("--disk, bps: "));
  EXPECT_THAT(error({"--kernel", "k", "--disk", "path=d,format=raw,backing="}), HasSubstr("'backing=' is not understood"));
  EXPECT_THAT(error({"--kernel", "k", "--disk", "path=d,format=raw,iops-burst=5"}), HasSubstr("a burst needs a limit"));
  EXPECT_THAT(error({"--kernel", "k", "-m", "512"}), HasSubstr("write 512M for MiB"));
  EXPECT_THAT(error({"--kernel", "k", "-m", "lots"}), HasSubstr("--memory"));
  EXPECT_THAT(error({"--kernel", "k", "-c", "two"}), HasSubstr("--cpus"));
  EXPECT_THAT(error({"--kernel", "k", "-c", "-1"}), HasSubstr("--cpus"));
  EXPECT_NE(error({"--kernel", "k", "-c", "0"}), "(no error)");
  EXPECT_NE(error({"--kernel", "k", "-c", "100000"}), "(no error)");
  EXPECT_NE(error({"--kernel", "k", "-m", "9999T"}), "(no error)");
  EXPECT_THAT(error({"--kernel", "k", "--serial", "tcp:1"}), HasSubstr("file:PATH"));
  EXPECT_THAT(error({"--kernel", "k", "--serial", "file:"}), HasSubstr("a path must follow"));
  EXPECT_THAT(error({"--kernel", "k", "--save-and-exit"}), HasSubstr("--save-on-signal"));
  EXPECT_THAT(error({"--kernel", "k", "--fw-cfg", "opt/x"}), HasSubstr("name="));
  EXPECT_THAT(error({"--kernel", "k", "--initrd", ""}), HasSubstr("the path is empty"));
  EXPECT_THAT(error({"--kernel", "k", "--engine", "tcg"}), HasSubstr("auto, kvm, soft"));
  EXPECT_THAT(error({"--kernel", "k", "--code-cache", "64K"}), HasSubstr("from 1 MiB"));
  EXPECT_THAT(error({"--kernel", "k", "--code-cache", "0"}), HasSubstr("at least 1M"));
  EXPECT_THAT(error({"--kernel", "k", "--direct-execution", "sometimes"}), HasSubstr("auto"));
  EXPECT_THAT(error({"--kernel", "k", "--code-cache", "much"}), HasSubstr("--code-cache"));
  EXPECT_THAT(error({"--kernel", "k", "--count-blocks"}), HasSubstr("--engine-log"));
  EXPECT_THAT(error({"--kernel", "k", "--engine-log", ""}), HasSubstr("the path is empty"));
  EXPECT_THAT(error({"--kernel", "k", "--engine", "kvm", "--perf-map"}), HasSubstr("translates nothing"));
}

TEST(Run, WhatIsHandedOverReadsBack) {
  VmConfig config = machine({"--kernel", "k", "--append", "quotes \" and \\ and ünïcode", "-m", "64M"});
  auto back = VmConfig::from_json(config.to_json());
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, config);
}

}  // namespace
}  // namespace nagaya::cli
