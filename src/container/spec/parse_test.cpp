#include "container/spec/parse.hpp"

#include <gtest/gtest.h>

namespace nagaya::container {
namespace {

const std::string whole = R"({
 "ociVersion": "1.1.0", "unknown": {"x": [1]},
 "root": {"path": "rootfs", "readonly": true},
 "process": {"terminal": true, "consoleSize": {"height": 24, "width": 80},
  "user": {"uid": 7, "gid": 8, "umask": 18, "additionalGids": [4, 4294967295]},
  "args": ["sh", "-c", ""], "env": ["A=b", "C="], "cwd": "/",
  "capabilities": {"bounding": ["CAP_KILL"], "effective": null},
  "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 18446744073709551615}],
  "noNewPrivileges": true, "oomScoreAdj": -100, "execCPUAffinity": {"initial": "0-1"},
  "scheduler": {"policy": "SCHED_BATCH", "nice": -3}, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}},
 "hostname": "h", "mounts": [{"destination": "proc", "type": "proc", "source": "proc", "options": ["nosuid"],
   "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}]}],
 "hooks": {"poststop": [{"path": "/bin/true", "args": ["true"], "timeout": 3}]},
 "annotations": {"a.b": "c"},
 "linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}, {"type": "user"}, {"type": "time"}],
  "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
  "timeOffsets": {"boottime": {"secs": -5, "nanosecs": 1}},
  "devices": [{"type": "c", "path": "/dev/x", "major": 1, "minor": 3, "fileMode": 438}],
  "resources": {"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": -1}],
   "memory": {"limit": 1048576, "swap": -1, "disableOOMKiller": false}, "cpu": {"shares": 512, "quota": -1, "cpus": "0"},
   "pids": {"limit": 9}, "blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]},
   "hugepageLimits": [{"pageSize": "2MB", "limit": 3}], "network": {"classID": 5, "priorities": [{"name": "lo", "priority": 2}]},
   "rdma": {"mlx5_1": {"hcaHandles": 3}}, "unified": {"memory.high": "max"}},
  "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
   "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]}]},
  "maskedPaths": ["/proc/kcore"], "sysctl": {"net.ipv4.ip_forward": "1"}}})";

TEST(ParseSpec, ReadsEachField) {
  const auto spec = parse_spec(whole);
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_TRUE(spec->root_readonly);
  EXPECT_EQ(spec->process->user.additional_gids[1], 0xffffffffu);
  EXPECT_EQ(spec->process->rlimits[0].hard, ~u64{0});
  EXPECT_EQ(spec->process->oom_score_adj, -100);
  EXPECT_EQ(spec->process->scheduler->nice, -3);
  EXPECT_EQ(spec->process->cpu_affinity_initial, "0-1");
  EXPECT_EQ(spec->mounts[0].destination, "/proc");
  EXPECT_EQ(spec->mounts[0].uid_mappings[0].outside, 1000u);
  EXPECT_EQ(spec->hooks.poststop[0].timeout, 3);
  EXPECT_EQ(spec->linux.namespaces[1].kind, NamespaceKind::network);
  EXPECT_EQ(spec->linux.boottime_offset->secs, -5);
  EXPECT_EQ(spec->linux.devices[0].file_mode, 0666u);
  const auto& resources = *spec->linux.resources;
  EXPECT_EQ(resources.devices[0].type, 'a');
  EXPECT_EQ(resources.devices[1].minor, -1);
  EXPECT_EQ(resources.memory->swap, -1);
  EXPECT_EQ(resources.pids_limit, 9);
  EXPECT_EQ(resources.block_io->read_bps[0].rate, 600u);
  EXPECT_EQ(resources.rdma[0].device, "mlx5_1");
  EXPECT_EQ(resources.unified[0].second, "max");
  EXPECT_EQ(spec->linux.seccomp->syscalls[0].args[0].value, 2u);
}

TEST(ParseSpec, WhatIsWrittenReadsTheSame) {
  const auto spec = parse_spec(whole);
  ASSERT_TRUE(spec);
  const std::string text = write_spec(*spec);
  const auto again = parse_spec(text);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(write_spec(*again), text);
  EXPECT_NE(text.find("\"hcaHandles\""), std::string::npos);
  EXPECT_NE(text.find("\"classID\""), std::string::npos);
}

std::string problem(const std::string& text) {
  const auto spec = parse_spec(text);
  return spec ? "" : spec.error().message();
}
std::string with(const std::string& members) { return R"({"ociVersion":"1.0.2","root":{"path":"r"},)" + members + "}"; }

TEST(ParseSpec, NamesThePlaceOfWhatIsWrong) {
  EXPECT_EQ(problem(with(R"("process":{"args":["a"],"cwd":"/","user":{"uid":-1}})")), "process.user.uid is negative");
  EXPECT_EQ(problem(with(R"("process":{"args":["a"],"cwd":"/","user":{"uid":4294967296}})")), "process.user.uid is too large");
  EXPECT_EQ(problem(with(R"("process":{"args":["a", 1],"cwd":"/"})")), "process.args[1] is not a text");
  EXPECT_EQ(problem(with(R"("linux":{"namespaces":[{"type":"pid"},{"type":"x"}]})")),
            "linux.namespaces[1].type names no namespace: 'x'");
  EXPECT_EQ(problem(with(R"("mounts":{})")), "mounts is not a list");
  EXPECT_EQ(problem(with(R"("annotations":{"k":3})")), "annotations.k is not a text");
  EXPECT_EQ(problem(with("\"hostname\":\"a\\u0000b\"")), "hostname has a NUL character in it");
  EXPECT_EQ(problem(with(R"("linux":{"resources":{"rdma":{"d":[]}}})")), "linux.resources.rdma.d is not an object");
  EXPECT_EQ(problem(with(R"("linux":{"resources":{"cpu":{"shares":1.5}}})")), "linux.resources.cpu.shares is not a whole number");
}

TEST(ParseSpec, RefusesWhatCannotBeRun) {
  EXPECT_NE(problem(R"({"ociVersion":"2.0","root":{"path":"r"}})"), "");
  EXPECT_NE(problem(R"({"ociVersion":"1.0"})"), "");
  EXPECT_NE(problem(with(R"("process":{"args":[],"cwd":"/"})")), "");
  EXPECT_NE(problem(with(R"("process":{"args":["a"],"cwd":"x"})")), "");
  EXPECT_NE(problem(with(R"("process":{"args":["a"],"cwd":"/","env":["=x"]})")), "");
  EXPECT_NE(problem(with(R"("hooks":{"prestart":[{"path":"x"}]})")), "");
  EXPECT_NE(problem(with(R"("linux":{"namespaces":[{"type":"pid"},{"type":"pid"}]})")), "");
  EXPECT_NE(problem(with(R"("linux":{"uidMappings":[{"containerID":0,"hostID":0,"size":1}]})")), "");
}

TEST(ParseSpec, BoundsSizeAndDepth) {
  EXPECT_NE(problem(std::string(bundle_limit + 1, ' ')).find("bytes"), std::string::npos);
  EXPECT_NE(problem(with("\"x\":" + std::string(100000, '['))).find("deeply"), std::string::npos);
  EXPECT_EQ(problem("{"), "the document is not JSON");
  EXPECT_EQ(problem("[]"), "the document is not an object");
}

TEST(ParseProcess, ReadsOneAlone) {
  const auto process = parse_process(R"({"args":["a"],"cwd":"/"})");
  ASSERT_TRUE(process);
  EXPECT_FALSE(process->capabilities);
  EXPECT_FALSE(parse_process(R"({"args":["a"]})"));
}

}  // namespace
}  // namespace nagaya::container
