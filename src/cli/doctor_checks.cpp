// The checks of doctor. Each looks at one thing and says what it found in words of its own.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/doctor.hpp"
#include "cli/doctor_cgroups.hpp"
#include "cli/sizes.hpp"

namespace nagaya::cli {

namespace {

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

// The value of a "key : value" line.
std::string line_value(const std::string& text, std::string_view key) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    std::size_t colon = line.find(':');
    if (colon == std::string::npos || line.find_first_not_of(" \t", key.size()) != colon) continue;
    std::size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return {};
}

// The bracketed word of "always [madvise] never".
std::string chosen(const std::string& text) {
  std::size_t open = text.find('['), close = text.find(']');
  return open == std::string::npos || close == std::string::npos ? text : text.substr(open + 1, close - open - 1);
}

std::string root_command(const HostView& host, const std::string& command) {
  return host.is_root() ? command : "sudo " + command;
}

void engines(const HostView& host, std::vector<Finding>& out) {
  auto probe = nlohmann::json::parse(host.engine_probe(), nullptr, false);
  Finding kvm{"engine-kvm", Health::missing, false, {}, {}};
  std::string verdict;
  if (probe.is_object() && probe.contains("kvm") && probe["kvm"].is_object()) {
    verdict = probe["kvm"].value("verdict", "");
    kvm.detail = probe["kvm"].value("line", "");
  } else {
    kvm.detail = "nagaya-vmm could not be asked";
    kvm.mend = "reinstall nagaya: nagaya-vmm belongs beside nagaya";
  }
  if (verdict == "fast") {
    kvm.health = Health::ok;
  } else if (verdict == "emulates_kernel" || verdict == "incomplete") {
    kvm.health = Health::limited;
    kvm.mend = "none from inside: this host is itself a guest whose hypervisor does not give it real nested virtualization";
  } else if (verdict == "refused") {
    int error = host.open_error("/dev/kvm");
    kvm.mend = error == EACCES || error == EPERM ? root_command(host, "usermod -aG kvm $USER") + ", then log in again"
                                                 : "see the reason above";
  } else if (verdict == "absent") {
    kvm.mend = root_command(host, "modprobe kvm_amd || ") + root_command(host, "modprobe kvm_intel") +
               "; inside a virtual machine, switch nested virtualization on for it";
  }
  out.push_back(std::move(kvm));

  std::vector<std::string> flags = words_of(line_value(host.text("/proc/cpuinfo").value_or(""), "flags"));
  std::vector<std::string> lacking;
  // x86-64-v3 (psABI 1.0, table 3.1), as /proc/cpuinfo spells it; the engine's own code is compiled with BMI2 in mind.
  for (const char* need : {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm",
                           "movbe", "xsave"}) {
    if (std::ranges::find(flags, need) == flags.end()) lacking.push_back(need);
  }
  Finding soft{"engine-soft", Health::ok, true, "this CPU has all it needs (x86-64-v3)", {}};
  if (!lacking.empty()) {
    soft.health = Health::missing;
    soft.detail = fmt::format("this CPU lacks {}", fmt::join(lacking, " "));
    soft.mend = "use a CPU of level x86-64-v3 (Intel Haswell, AMD Excavator or later), or have the hypervisor show these features";
  }
  out.push_back(std::move(soft));

  if (host.fsgsbase()) {
    out.push_back({"cpu-fsgsbase", Health::ok, false, "usable from user mode", {}});
  } else {
    out.push_back({"cpu-fsgsbase", Health::limited, false, "not usable from user mode: the software engine asks the kernel instead",
                   "boot a kernel of 5.9 or later without 'nofsgsbase' on a CPU that has it"});
  }
  if (probe.is_object() && probe.contains("auto") && probe["auto"].is_object()) {
    out.push_back({"engine-auto", Health::ok, false,
                   fmt::format("{}: {}", probe["auto"].value("engine", "?"), probe["auto"].value("reason", "")), {}});
  }
}

/// What stands between a guest that takes over its machine's process and the host.
void jail(const HostView& host, std::vector<Finding>& out) {
  const auto probe = nlohmann::json::parse(host.engine_probe(), nullptr, false);
  if (!probe.is_object() || !probe.contains("jail") || !probe["jail"].is_object()) return;
  std::vector<std::string> lacks;
  for (const auto& line : probe["jail"].value("lacks", nlohmann::json::array())) {
    if (line.is_string()) lacks.push_back(line.get<std::string>());
  }
  if (lacks.empty()) {
    out.push_back({"jail", Health::ok, false, "a machine's process has no file, no network, no capability and few system calls", {}});
    return;
  }
  const bool namespaces = host.user_namespace_error() == 0;
  out.push_back({"jail", Health::limited, false, fmt::format("a machine's process lacks layers of its jail: {}", fmt::join(lacks, "; ")),
                 namespaces ? "none from here: whoever runs this host or container forbids it" : "allow user namespaces, see below"});
}

void clock(const HostView& host, std::vector<Finding>& out) {
  std::string flags = " " + line_value(host.text("/proc/cpuinfo").value_or(""), "flags") + " ";
  std::string source = host.text("/sys/devices/system/clocksource/clocksource0/current_clocksource").value_or("unknown");
  bool constant = flags.find(" constant_tsc ") != std::string::npos;
  if (constant || source == "tsc") {
    out.push_back({"clock-tsc", Health::ok, false, fmt::format("constant TSC, host clock source {}", source), {}});
  } else {
    out.push_back({"clock-tsc", Health::limited, false, fmt::format("the TSC is not said to be constant, host clock source {}", source),
                   "none: guests may keep time less well"});
  }
}

void memory(const HostView& host, std::vector<Finding>& out) {
  std::string info = host.text("/proc/meminfo").value_or("");
  auto kib = [&](const char* key) { return std::strtoull(line_value(info, key).c_str(), nullptr, 10); };
  u64 free = kib("MemAvailable"), total = kib("MemTotal");
  Finding ram{"memory", Health::ok, false, fmt::format("{} MiB available of {} MiB, {} CPUs", free / 1024, total / 1024, host.cpus()), {}};
  if (free < 256 * 1024) {
    ram.health = Health::limited;
    ram.mend = "end other programs: less than 256 MiB are available";
  }
  out.push_back(std::move(ram));

  std::string pages = chosen(host.text("/sys/kernel/mm/transparent_hugepage/shmem_enabled").value_or("never"));
  if (pages == "never" || pages == "deny") {
    out.push_back({"huge-pages", Health::limited, false, fmt::format("transparent huge pages for shared memory: {}", pages),
                   root_command(host, "sh -c 'echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled'")});
  } else {
    out.push_back({"huge-pages", Health::ok, false, fmt::format("transparent huge pages for shared memory: {}", pages), {}});
  }

  auto ksm = host.text("/sys/kernel/mm/ksm/run");
  if (!ksm) {
    out.push_back({"ksm", Health::missing, false, "this kernel does not merge equal pages", "boot a kernel with CONFIG_KSM"});
  } else if (*ksm == "1") {
    out.push_back({"ksm", Health::ok, false, "equal pages of guests are merged", {}});
  } else {
    out.push_back({"ksm", Health::limited, false, "there, but switched off",
                   root_command(host, "sh -c 'echo 1 >/sys/kernel/mm/ksm/run'")});
  }
}

void containers(const HostView& host, std::vector<Finding>& out) {
  examine_cgroups(host, out);

  if (int error = host.user_namespace_error(); error == 0) {
    out.push_back({"user-namespaces", Health::ok, false, "can be made", {}});
  } else {
    std::string mend = root_command(host, "sysctl user.max_user_namespaces=15000");
    if (host.text("/proc/sys/kernel/unprivileged_userns_clone") == "0") mend = root_command(host, "sysctl kernel.unprivileged_userns_clone=1");
    if (host.text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1")
      mend = root_command(host, "sysctl kernel.apparmor_restrict_unprivileged_userns=0");
    out.push_back({"user-namespaces", Health::missing, false, fmt::format("refused: {}", std::strerror(error)), mend});
  }
}

/// How containers get their root (src/domain/container_storage.hpp).
void container_roots(const HostView& host, std::vector<Finding>& out) {
  const int refused = host.overlay_error();
  if (refused == 0) {
    out.push_back({"container-root", Health::ok, false, "overlayfs", {}});
    return;
  }
  const std::string why = fmt::format("overlayfs is refused: {}", std::strerror(refused));
  // A kernel without it says so by ENODEV; else the file system of the state folder, or the right to mount, is at fault.
  const std::string mend = refused == ENODEV ? root_command(host, "modprobe overlay") : "a kernel of 5.11 or later, and a state folder (NAGAYA_STATE_DIR) on ext4, xfs or btrfs";
  const int fuse = host.open_error("/dev/fuse");
  if (host.has_program("fuse-overlayfs") && fuse == 0) {
    out.push_back({"container-root", Health::limited, false, why + "; fuse-overlayfs is used instead", mend});
  } else {
    out.push_back({"container-root", Health::limited, false, why + "; each container gets a copy of its image",
                   mend + "; or " + (fuse == 0 || fuse == ENOENT ? root_command(host, "apt-get install fuse-overlayfs") : root_command(host, "chmod 666 /dev/fuse"))});
  }
}

void kernel_services(const HostView& host, std::vector<Finding>& out) {
  if (int error = host.io_uring_error(); error == 0) {
    out.push_back({"io-uring", Health::ok, false, "usable", {}});
  } else {
    bool disabled = host.text("/proc/sys/kernel/io_uring_disabled").value_or("0") != "0";
    out.push_back({"io-uring", Health::missing, false, fmt::format("refused: {}", std::strerror(error)),
                   disabled ? root_command(host, "sysctl kernel.io_uring_disabled=0")
                            : "none: the kernel or a container's seccomp filter refuses it; threads are used instead"});
  }
  if (int error = host.userfaultfd_error(); error == 0) {
    out.push_back({"userfaultfd", Health::ok, false, "usable", {}});
  } else {
    out.push_back({"userfaultfd", Health::missing, false, fmt::format("refused: {}", std::strerror(error)),
                   root_command(host, "sysctl vm.unprivileged_userfaultfd=1")});
  }
  std::string actions = host.text("/proc/sys/kernel/seccomp/actions_avail").value_or("");
  if (!actions.empty()) {
    out.push_back({"seccomp", Health::ok, false, fmt::format("actions: {}", actions), {}});
  } else {
    out.push_back({"seccomp", Health::missing, false, "this kernel has no seccomp filters", "boot a kernel with CONFIG_SECCOMP_FILTER"});
  }
  if (int error = host.open_error("/dev/net/tun"); error == 0) {
    out.push_back({"tun", Health::ok, false, "/dev/net/tun can be opened", {}});
  } else {
    out.push_back({"tun", Health::limited, false, fmt::format("/dev/net/tun: {}", std::strerror(error)),
                   error == ENOENT ? root_command(host, "modprobe tun") : root_command(host, "chmod 666 /dev/net/tun")});
  }
}

/// Programs of others that make images.
void image_tools(const HostView& host, std::vector<Finding>& out) {
  struct Tool {
    const char *program, *package, *use;
  };
  constexpr Tool tools[] = {{"mmdebstrap", "mmdebstrap", "nagaya build debian"},
                            {"mke2fs", "e2fsprogs", "nagaya build and pull"},
                            {"skopeo", "skopeo", "nagaya pull from registries and archives"},
                            {"ssh-keygen", "openssh-client", "the default SSH key"}};
  for (const Tool& tool : tools) {
    Finding found{fmt::format("tool-{}", tool.program), Health::missing, false, fmt::format("not installed, for {}", tool.use),
                  root_command(host, fmt::format("apt-get install {}", tool.package))};
    for (const char* folder : {"/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/", "/usr/local/bin/", "/usr/local/sbin/"}) {
      if (!host.exists(folder + std::string(tool.program))) continue;
      found = {found.check, Health::ok, false, folder + std::string(tool.program), {}};
      break;
    }
    out.push_back(std::move(found));
  }
  if (host.is_root()) return;
  const bool ids = host.exists("/usr/bin/newuidmap") && !host.text("/etc/subuid").value_or("").empty();
  out.push_back({"subordinate-ids", ids ? Health::ok : Health::missing, false, ids ? "there are some, for nagaya build debian" : "none: nagaya build debian needs root",
                 ids ? "" : "sudo apt-get install uidmap && sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"});
}

void checkpoints(const HostView& host, std::vector<Finding>& out) {
  const CriuView criu = host.criu();
  if (!criu.problem.empty() || criu.path.empty()) {
    out.push_back({"criu", Health::missing, false, fmt::format("containers cannot be saved: {}", criu.problem),
                   "in the source tree: scripts/fetch-criu; else install criu 4.1 or newer, or name it in NAGAYA_CRIU"});
    return;
  }
  const std::string what = fmt::format("{} {}", criu.path, criu.version);
  if (!host.is_root()) {
    out.push_back({"criu", Health::limited, false, what + "; containers are saved by root", "sudo nagaya-oci checkpoint ID"});
  } else if (!criu.complaints.empty()) {
    out.push_back({"criu", Health::limited, false, fmt::format("{}: {}", what, fmt::join(criu.complaints, "; ")),
                   "a kernel with CONFIG_MEM_SOFT_DIRTY and CONFIG_CHECKPOINT_RESTORE has it all; saving and restoring work without"});
  } else {
    out.push_back({"criu", Health::ok, false, what, {}});
  }
}

void networks(const HostView& host, std::vector<Finding>& out) {
  if (host.has_program("nagaya-net")) {
    out.push_back({"network-user", Health::ok, false, "user-mode and isolated networks work, without root", {}});
  } else {
    out.push_back({"network-user", Health::missing, false, "nagaya-net is not there", "reinstall nagaya: nagaya-net belongs beside nagaya"});
  }
  Finding bridge{"network-bridge", Health::ok, false, "bridge networks can be made", {}};
  std::vector<std::string> packages;
  for (const auto& [program, package] : {std::pair{"ip", "iproute2"}, {"nft", "nftables"}, {"dnsmasq", "dnsmasq-base"}}) {
    if (!host.has_program(program)) packages.emplace_back(package);
  }
  // What must be installed first, then the kernel, then who asks.
  if (!packages.empty()) {
    bridge = {"network-bridge", Health::missing, false, fmt::format("not installed: {}", fmt::join(packages, ", ")),
              root_command(host, fmt::format("apt install {}", fmt::join(packages, " ")))};
  } else if (host.open_error("/dev/net/tun") == ENOENT) {
    bridge = {"network-bridge", Health::missing, false, "there is no /dev/net/tun", root_command(host, "modprobe tun")};
  } else if (const std::string problem = host.nftables_problem(); !problem.empty()) {
    bridge = {"network-bridge", Health::missing, false, fmt::format("nftables: {}", problem), root_command(host, "modprobe nf_tables")};
  } else if (!host.is_root()) {
    bridge = {"network-bridge", Health::limited, false, "bridge networks are root's", "sudo nagaya network create NAME --driver bridge"};
  }
  out.push_back(std::move(bridge));
}

}  // namespace

std::vector<Finding> examine_host(const HostView& host) {
  std::vector<Finding> out;
  engines(host, out);
  jail(host, out);
  clock(host, out);
  memory(host, out);
  containers(host, out);
  container_roots(host, out);
  kernel_services(host, out);
  image_tools(host, out);
  checkpoints(host, out);
  networks(host, out);
  return out;
}

}  // namespace nagaya::cli
