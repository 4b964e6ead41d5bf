// config.json, process.json and resources.json; the first byte chooses which. What was read can be written and read
// again as the same, has no NUL in what becomes arguments of system calls, and what is made of it (a seccomp program,
// mount options, paths) holds.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "container/root/mount_options.hpp"
#include "container/root/resolve.hpp"
#include "container/security/security.hpp"
#include "container/spec/parse.hpp"
#include "fuzz.hpp"

namespace {

using namespace nagaya;
using namespace nagaya::container;

bool clean(const std::string& text) { return text.find('\0') == std::string::npos; }
bool clean(const std::vector<std::string>& words) {
  return std::ranges::all_of(words, [](const std::string& word) { return clean(word); });
}

void check(const Process& process) {
  if (process.args.empty() || !process.cwd.starts_with('/') || !clean(process.args) || !clean(process.env) ||
      !clean(process.cwd))
    std::abort();
  const std::string text = write_process(process);
  const auto again = parse_process(text);
  if (!again || write_process(*again) != text) std::abort();
}

void check_seccomp(const Seccomp& profile) {
  const auto program = SeccompProgram::compile(profile);
  constexpr std::size_t most = 4096 * 8;  // instructions the kernel takes, bytes of each
  if (program && (program->instructions().empty() || program->instructions().size() > most)) std::abort();
}

void check(const Spec& spec) {
  if (spec.root_path.empty() || !clean(spec.root_path) || !clean(spec.hostname)) std::abort();
  for (const Mount& mount : spec.mounts) {
    if (!mount.destination.starts_with('/') || !clean(mount.destination) || !clean(mount.source) ||
        !clean(mount.options))
      std::abort();
    const std::string path = clean_path(mount.destination);
    if (!path.starts_with('/') || path.find("/../") != std::string::npos || clean_path(path) != path) std::abort();
    const MountOptions options = parse_mount_options(mount);
    if ((options.set & options.clear & 0xf) != 0) std::abort();  // ro, nosuid, nodev, noexec: one of the two
  }
  if (spec.process) check(*spec.process);
  if (spec.linux.seccomp) check_seccomp(*spec.linux.seccomp);
  const std::string text = write_spec(spec);
  const auto again = parse_spec(text);
  if (!again || write_spec(*again) != text) std::abort();
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  const std::string process =
      R"({"terminal":true,"consoleSize":{"height":24,"width":80},"user":{"uid":1,"gid":2,"umask":18,"additionalGids":[5]},"args":["sh"],)"
      R"("env":["A=b"],"cwd":"/","capabilities":{"bounding":["CAP_KILL"],"ambient":[]},"rlimits":[{"type":"RLIMIT_NOFILE","hard":9,"soft":8}],)"
      R"("noNewPrivileges":true,"oomScoreAdj":-5,"scheduler":{"policy":"SCHED_BATCH","nice":3},"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":4}})";
  const std::string resources =
      R"({"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":1000000,"swap":-1},"cpu":{"shares":512,"quota":-1,"period":100000,"cpus":"0-1"},)"
      R"("pids":{"limit":10},"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":100}]},"hugepageLimits":[{"pageSize":"2MB","limit":1}],)"
      R"("network":{"classID":1,"priorities":[{"name":"eth0","priority":1}]},"rdma":{"mlx5":{"hcaHandles":3}},"unified":{"memory.high":"1"}})";
  const std::string linux =
      R"({"namespaces":[{"type":"mount"},{"type":"pid","path":"/proc/1/ns/pid"},{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":1,"size":2}],)"
      R"("gidMappings":[{"containerID":0,"hostID":1,"size":2}],"timeOffsets":{"monotonic":{"secs":1,"nanosecs":2}},)"
      R"("devices":[{"path":"/dev/x","type":"c","major":1,"minor":3,"fileMode":438,"uid":0,"gid":0}],"cgroupsPath":"/a","rootfsPropagation":"rslave",)"
      R"("maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"],"sysctl":{"net.ipv4.ip_forward":"1"},"mountLabel":"l","personality":{"domain":"LINUX"},)"
      R"("seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],"flags":["SECCOMP_FILTER_FLAG_LOG"],)"
      R"("syscalls":[{"names":["read","socket"],"action":"SCMP_ACT_ALLOW"},{"names":["clone"],"action":"SCMP_ACT_ERRNO","errnoRet":38,)"
      R"("args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]},"resources":)" +
      resources + "}";
  const std::string spec =
      R"({"ociVersion":"1.1.0","root":{"path":"rootfs","readonly":true},"hostname":"h","domainname":"d","process":)" +
      process +
      R"(,"mounts":[{"destination":"/proc/../a","type":"bind","source":"s","options":["rbind","ro","rnosuid","size=1"],"uidMappings":[{"containerID":0,"hostID":1,"size":2}]}],)" +
      R"("hooks":{"prestart":[{"path":"/bin/true","args":["true"],"env":["A=b"],"timeout":3}]},"annotations":{"a":"b"},"linux":)" +
      linux + "}";
  std::vector<std::vector<u8>> out;
  for (const std::string& text : {"0" + spec, "1" + process, "2" + resources})
    out.emplace_back(text.begin(), text.end());
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 3) {
    case 0:
      if (const auto spec = parse_spec(text)) check(*spec);
      break;
    case 1:
      if (const auto process = parse_process(text)) check(*process);
      break;
    default:
      (void)parse_resources(text);
  }
  return 0;
}
