#include "image/kernel.hpp"

#include <fmt/core.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "host/fd.hpp"
#include "host/process.hpp"
#include "image/cpio.hpp"

namespace nagaya::image {
namespace {

/// What nagaya-init can load; which of them it needs depends on the guest's devices and its kind.
constexpr const char* wanted_modules[] = {"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng",
                                          "virtio_balloon", "vmw_vsock_virtio_transport", "virtiofs", "virtio_pmem", "overlay", "af_packet", "button", "evdev"};
constexpr u64 largest_kernel = 256 * MiB, largest_module = 64 * MiB;

/// "kernel/drivers/char/hw_random/virtio-rng.ko" is module virtio_rng.
std::string module_name(std::string_view file) {
  std::string out(file.substr(file.rfind('/') + 1));
  out = out.substr(0, out.find('.'));
  std::ranges::replace(out, '-', '_');
  return out;
}

// Gives a tar archive of the kernel's package, with the index of its modules, on standard output. Lists of packages go to a folder
// of their own ($1), so that nobody needs root.
constexpr const char* kernel_recipe = R"recipe(set -eu
cd "$1"
PATH=$PATH:/usr/sbin:/sbin
mkdir -p apt/state apt/lists/partial apt/cache/archives/partial apt/log tree
: >apt/status
apt() {
  tool=$1; shift
  "$tool" -o Dir::State="$PWD/apt/state" -o Dir::State::lists="$PWD/apt/lists" -o Dir::State::status="$PWD/apt/status" \
    -o Dir::Cache="$PWD/apt/cache" -o Dir::Log="$PWD/apt/log" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "$@"
}
apt apt-get -qq update >&2
package=$(apt apt-cache show --no-all-versions linux-image-cloud-amd64 | sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p' | head -n 1)
[ -n "$package" ] || { echo "no package behind linux-image-cloud-amd64" >&2; exit 1; }
apt apt-get -qq download "$package" >&2
dpkg-deb -x "$package"_*.deb tree
for version in $(ls tree/lib/modules); do depmod -b tree "$version"; done
tar -C tree -cf - .
)recipe";

std::string text_of(const std::vector<u8>& bytes) { return {bytes.begin(), bytes.end()}; }

Result<std::string> newest_version(const Tree& tree) {
  std::vector<std::string> versions;
  if (const NodePtr boot = tree.find("boot"); boot != nullptr && boot->type == NodeType::directory) {
    for (const auto& [name, child] : boot->children) {
      if (name.starts_with("vmlinuz-") && child.node->type == NodeType::file) versions.push_back(name.substr(8));
    }
  }
  if (versions.empty()) return fail("no kernel in /boot", "no package installed one", "--include linux-image-cloud-amd64");
  return *std::ranges::max_element(versions, [](const auto& a, const auto& b) { return ::strverscmp(a.c_str(), b.c_str()) < 0; });
}

Result<std::vector<u8>> make_initrd(const Layers& layers, const Tree& tree, const std::string& version) {
  TRY_ASSIGN(const std::string program, guest_program("nagaya-init"));
  TRY_ASSIGN(const std::vector<u8> init, host::read_file(program, 64 * MiB));
  const std::string root = "usr/lib/modules/" + version, other = "lib/modules/" + version;
  const std::string folder = tree.find(root) != nullptr ? root : other;
  TRY_ASSIGN(const auto index, read_files(layers, tree, {folder + "/modules.dep"}, 16 * MiB));
  const std::string dep = text_of(index.begin()->second);

  std::string list;
  std::set<std::string> files;
  for (const char* name : wanted_modules) {
    const std::vector<std::string> needs = module_files(dep, name);
    if (needs.empty()) continue;  // in the kernel itself, or not there at all
    list += name;
    for (const std::string& file : needs) {
      list += " " + file.substr(file.rfind('/') + 1);
      files.insert(folder + "/" + file);
    }
    list += '\n';
  }
  TRY_ASSIGN(const auto modules, read_files(layers, tree, {files.begin(), files.end()}, largest_module));

  Cpio cpio;
  cpio.folder("dev");
  // The kernel opens it before anything could make it.
  cpio.char_device("dev/console", 5, 1, 0600);
  for (const char* name : {"proc", "sys", "run", "root-disk", "nagaya", "nagaya/modules"}) cpio.folder(name);
  cpio.file("init", init, 0755);
  // For guests whose disk has none.
  if (const auto agent = guest_program("nagaya-agent")) {
    TRY_ASSIGN(const std::vector<u8> content, host::read_file(*agent, 64 * MiB));
    cpio.file("nagaya/agent", content, 0755);
  }
  cpio.file("nagaya/modules/list", std::span(reinterpret_cast<const u8*>(list.data()), list.size()));
  for (const auto& [path, content] : modules) cpio.file("nagaya/modules/" + path.substr(path.rfind('/') + 1), content);
  return cpio.finish();
}

}  // namespace

std::vector<std::string> module_files(std::string_view modules_dep, std::string_view name) {
  while (!modules_dep.empty()) {
    const std::string_view line = modules_dep.substr(0, modules_dep.find('\n'));
    modules_dep.remove_prefix(std::min(line.size() + 1, modules_dep.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || module_name(line.substr(0, colon)) != name) continue;
    std::vector<std::string> out{std::string(line.substr(0, colon))};
    for (std::size_t at = colon + 1; at < line.size();) {
      const std::size_t end = std::min(line.find(' ', at), line.size());
      if (end != at) out.emplace_back(line.substr(at, end - at));
      at = end + 1;
    }
    // The last one named needs none of the others (modules.dep(5)).
    std::ranges::reverse(out);
    return out;
  }
  return {};
}

Result<std::string> guest_program(const std::string& name) {
  const std::string own = host::own_program_path();
  const std::string folder = own.substr(0, own.rfind('/'));
  for (const std::string& path : {folder + "/" + name, folder.substr(0, folder.rfind('/')) + "/libexec/nagaya/" + name}) {
    if (::access(path.c_str(), R_OK) == 0) return path;
  }
  return std::unexpected(Error{fmt::format("cannot find {} beside '{}'", name, own), {}, "install both, or build them with 'make build'", ENOENT});
}

std::vector<u8> init_config_cpio(const proto::InitConfig& config) {
  const std::string text = config.to_json();
  Cpio cpio;
  cpio.folder("nagaya");
  cpio.file("nagaya/init.json", std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
  return cpio.finish();
}

Result<KernelFiles> take_kernel(const Layers& layers, const Tree& tree, const std::string& folder) {
  TRY_ASSIGN(const std::string version, newest_version(tree));
  const std::string path = "boot/vmlinuz-" + version;
  TRY_ASSIGN(const auto kernel, read_files(layers, tree, {path}, largest_kernel));
  KernelFiles out{.version = version, .kernel = folder + "/kernel", .initrd = folder + "/initrd"};
  TRY(host::replace_file(out.kernel, kernel.at(path)));
  TRY_ASSIGN(const std::vector<u8> initrd, make_initrd(layers, tree, version));
  TRY(host::replace_file(out.initrd, initrd));
  return out;
}

Result<Image> build_kernel(Store& store, const std::string& name, const Work& work) {
  TRY(guest_program("nagaya-init"));
  TRY_ASSIGN(const Scratch scratch, store.scratch());
  const std::string tar = scratch.path() + "/kernel.tar";
  work.say("fetching Debian's kernel (apt-get)");
  TRY(run_tool({.name = "sh", .package = "dash", .args = {"-c", kernel_recipe, "sh", scratch.path()}, .scratch = scratch.path(), .output = tar}, work));
  const Layers layers{.files = {tar}, .whiteouts = false};
  TRY_ASSIGN(const Tree tree, read_tree(layers));
  TRY_ASSIGN(const KernelFiles files, take_kernel(layers, tree, scratch.path()));
  return store.add({.kind = Kind::kernel,
                    .name = name.empty() ? "kernel" : name,
                    .source = fmt::format("Debian kernel {}", files.version),
                    .kernel = files.kernel,
                    .initrd = files.initrd});
}

Result<> ensure_kernel(Store& store, const Work& work) {
  if (store.find("kernel")) return {};
  TRY_ASSIGN(const auto all, store.list());
  for (const Image& image : all) {
    if (image.kind != Kind::disk || image.initrd_path.empty()) continue;
    TRY(store.add({.kind = Kind::kernel, .name = "kernel", .source = image.source, .kernel = image.kernel_path, .initrd = image.initrd_path}));
    return {};
  }
  TRY(build_kernel(store, "kernel", work));
  return {};
}

}  // namespace nagaya::image
