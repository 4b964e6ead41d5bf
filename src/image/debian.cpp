#include "image/debian.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "block/create.hpp"
#include "image/ext4.hpp"
#include "image/kernel.hpp"
#include "image/layers.hpp"
#include "image/pack.hpp"
#include "image/reference.hpp"

namespace nagaya::image {
namespace {

// A system to work with, small: no recommended packages, no manuals.
constexpr const char* packages[] = {"systemd-sysv", "udev", "dbus", "libpam-systemd", "systemd-resolved", "cloud-init", "openssh-server",
                                    "linux-image-cloud-amd64", "initramfs-tools", "lz4", "sudo", "ca-certificates", "iproute2", "iputils-ping",
                                    "netbase", "kmod", "less", "vim-tiny", "procps"};

bool good_word(std::string_view text, std::string_view more) {
  if (text.empty() || text.size() > 200) return false;
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); };
  return plain(text.front()) && std::ranges::all_of(text, [&](char c) { return plain(c) || more.find(c) != std::string_view::npos; });
}

/// What apt of this host says, or "" where it cannot be asked.
std::string ask_apt(const std::string& tool, std::vector<std::string> args, const std::string& scratch, const Work& work) {
  const std::string file = scratch + "/" + tool + ".out";
  if (!run_tool({.name = tool, .package = "apt", .args = std::move(args), .scratch = scratch, .output = file}, work)) return {};
  auto bytes = host::read_file(file, 4 * MiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

/// Lines `Acquire::http::Proxy "…";` of the host's configuration, fit for a guest's.
std::vector<std::string> proxies(std::string_view dump) {
  std::vector<std::string> out;
  while (!dump.empty()) {
    const std::string_view line = dump.substr(0, dump.find('\n'));
    dump.remove_prefix(std::min(line.size() + 1, dump.size()));
    const bool proxy = line.starts_with("Acquire::http::Proxy ") || line.starts_with("Acquire::https::Proxy ");
    if (proxy && line.find("\"\"") == std::string_view::npos) out.emplace_back(line);
  }
  return out;
}

Result<std::vector<std::string>> mmdebstrap_args(const DebianOptions& options, const std::string& scratch, const Work& work) {
  std::vector<std::string> out{"INITRD=No", "mmdebstrap", "--format=tar", "--variant=apt"};
  // Without root: a user namespace, when the host has a range of ids for this user.
  out.push_back(::geteuid() == 0 ? "--mode=root" : "--mode=unshare");
  std::vector<std::string> all(std::begin(packages), std::end(packages));
  all.insert(all.end(), options.include.begin(), options.include.end());
  out.push_back(fmt::format("--include={}", fmt::join(all, ",")));
  out.push_back("--aptopt=APT::Install-Recommends \"false\"");
  out.push_back("--aptopt=Acquire::Languages \"none\"");
  for (const std::string& line : proxies(ask_apt("apt-config", {"dump"}, scratch, work))) out.push_back("--aptopt=" + line);
  out.push_back("--dpkgopt=force-unsafe-io");
  for (const char* path : {"/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*"}) out.push_back(fmt::format("--dpkgopt=path-exclude={}", path));
  out.push_back("--dpkgopt=path-include=/usr/share/doc/*/copyright");
  if (const auto agent = guest_program("nagaya-agent")) {
    out.push_back(fmt::format("--customize-hook=upload '{}' /usr/sbin/nagaya-agent", *agent));
    out.push_back("--customize-hook=chmod 755 \"$1/usr/sbin/nagaya-agent\"");
  } else {
    work.say("no nagaya-agent beside nagaya: the image goes without it");
  }
  out.push_back(fmt::format("--customize-hook={}", debian_recipe));
  out.push_back(options.suite);
  out.push_back("-");
  std::vector<std::string> sources;
  if (options.mirror.empty()) {
    sources = sources_of_host(ask_apt("apt-get", {"indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)", "Created-By: Packages"}, scratch, work), options.suite);
  } else {
    sources.push_back(fmt::format("deb {} {} main", options.mirror, options.suite));
  }
  out.insert(out.end(), sources.begin(), sources.end());
  return out;
}

}  // namespace

std::string debian_append() {
  // Self-tests of ciphers are two thirds of what this kernel executes before its first process.
  return "console=ttyS0 root=/dev/vda rw quiet cryptomgr.notests";
}

std::vector<std::string> sources_of_host(std::string_view text, const std::string& suite) {
  std::map<std::pair<std::string, std::string>, std::string> components;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    std::vector<std::string> parts;
    for (std::size_t at = 0; at <= line.size();) {
      const std::size_t end = std::min(line.find('|', at), line.size());
      parts.emplace_back(line.substr(at, end - at));
      at = end + 1;
    }
    if (parts.size() != 4 || parts[3] != "Debian") continue;
    if (parts[1] != suite && !parts[1].starts_with(suite + "-")) continue;
    // Words of a line for apt: nothing that could be read as another, or as an option.
    if (parts[0].find("://") == std::string::npos || parts[0].find_first_of(" []\t") != std::string::npos || !good_word(parts[1], "-./_") || !good_word(parts[2], "-/_")) continue;
    std::string& list = components[{parts[0], parts[1]}];
    if ((" " + list + " ").find(" " + parts[2] + " ") == std::string::npos) list += (list.empty() ? "" : " ") + parts[2];
  }
  std::vector<std::string> out;
  for (const auto& [where, list] : components) out.push_back(fmt::format("deb {} {} {}", where.first, where.second, list));
  return out;
}

Result<> validate(const DebianOptions& options) {
  if (!good_word(options.suite, "-._")) return fail(fmt::format("suite '{}'", options.suite), "not the name of a Debian release", "bookworm, for example");
  for (const std::string& package : options.include) {
    if (!good_word(package, "+-.:")) return fail(fmt::format("package '{}'", package), "no Debian package is called so");
  }
  if (!options.name.empty()) TRY(Reference::parse(options.name));
  if (options.size < GiB || options.size > 16 * 1024 * GiB || options.size % MiB != 0) {
    return fail("--size", "not a multiple of 1 MiB from 1 GiB to 16 TiB", "a machine's disk can be larger than its image's: nagaya run --disk-size");
  }
  const std::string& m = options.mirror;
  if (!m.empty() && (m.size() > 1000 || !(m.starts_with("http://") || m.starts_with("https://") || m.starts_with("file:/")) ||
                     m.find_first_of(" \t\r\n[]\"'") != std::string::npos)) {
    return fail(fmt::format("mirror '{}'", m.substr(0, 200)), "not a URL that apt could read", "http://deb.debian.org/debian, for example");
  }
  return {};
}

Result<Image> build_debian(Store& store, const DebianOptions& options, const Work& work) {
  TRY(validate(options));
  TRY(guest_program("nagaya-init"));
  TRY_ASSIGN(const Scratch scratch, store.scratch());
  const std::string folder = scratch.path();
  const std::string tar = folder + "/root.tar", raw = folder + "/disk.raw", disk = folder + "/disk.qcow2";
  work.say(fmt::format("installing Debian {} (mmdebstrap)", options.suite));
  TRY_ASSIGN(auto args, mmdebstrap_args(options, folder, work));
  if (!find_tool("mmdebstrap")) TRY(run_tool({.name = "mmdebstrap", .package = "mmdebstrap", .args = {}, .scratch = folder}, work));
  TRY(run_tool({.name = "env", .package = "coreutils", .args = std::move(args), .scratch = folder, .output = tar}, work));

  const Layers layers{.files = {tar}, .whiteouts = false};
  TRY_ASSIGN(const Tree tree, read_tree(layers));
  TRY_ASSIGN(const KernelFiles kernel, take_kernel(layers, tree, folder));
  work.say(fmt::format("writing the disk; kernel {}", kernel.version));
  TRY_ASSIGN(const u64 size, make_ext4(layers, tree, {.path = raw, .size = options.size, .label = "debian", .scratch = folder}, work));
  TRY(block::convert_image({.from = {.path = raw, .format = block::Format::raw, .read_only = true}, .to = {.path = disk, .format = block::Format::qcow2}}));
  // The same root for containers.
  work.say("packing the root for containers");
  const std::string layer = folder + "/root.tar.zst";
  TRY(pack(tar, layer, work));
  TRY(work.check());
  work.say("putting it into the store");
  return store.add({.kind = Kind::disk,
                    .name = options.name.empty() ? "debian" : options.name,
                    .source = fmt::format("Debian {}, kernel {}", options.suite, kernel.version),
                    .disk = disk,
                    .disk_format = "qcow2",
                    .disk_size = size,
                    .kernel = kernel.kernel,
                    .initrd = kernel.initrd,
                    .append = debian_append(),
                    .layers = {layer}});
}

}  // namespace nagaya::image
