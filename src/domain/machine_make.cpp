#include "domain/machine_make.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/scope.hpp"
#include "block/create.hpp"

namespace nagaya::domain {
namespace {

constexpr u64 guest_cid = 3;  // each machine has sockets of its own, so that all can have the same

Result<> make_disk(const Machine& machine, const image::Image& image) {
  const u64 wanted = machine.spec.disk_size;
  if (wanted != 0 && wanted < image.disk_size) {
    return fail(fmt::format("a disk of {} bytes", wanted), fmt::format("the image's has {}", image.disk_size));
  }
  TRY_ASSIGN(const auto format, block::parse_format(image.disk_format));
  return block::create_image({.path = machine.places.disk(),
                              .size = std::max(wanted, image.disk_size),
                              .backing_path = image.disk_path,
                              .backing_format = format,
                              .allowed_backing = {image.disk_path}});
}

/// A word of the kernel's command line: what would end it, or read as another, is written as %XX.
std::string kernel_word(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c > ' ' && c < 127 && c != '%' && c != '"' && c != ':') {
      out += c;
    } else {
      out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string share_tag(std::size_t index) { return fmt::format("share{}", index); }

/// The agent in the guest mounts what it finds there (agent/guest/mounts.hpp).
std::string mount_words(const MachineSpec& spec) {
  std::string out;
  for (std::size_t i = 0; i < spec.shares.size(); ++i) {
    const MachineShare& share = spec.shares[i];
    out += fmt::format(" nagaya.mount={}:{}{}", share_tag(i), kernel_word(share.guest), share.read_only ? ":ro" : "");
  }
  return out;
}

}  // namespace

Result<Machine> make_machine(const MachineStore& store, const image::Image& image, MachineSpec spec) {
  if (image.disk_path.empty()) return fail(fmt::format("image '{}'", spec.image_name), "it has no disk to start from");
  if (image.kernel_path.empty()) {
    return fail(fmt::format("image '{}'", spec.image_name), "there is no kernel for it", "'nagaya build kernel' makes one");
  }
  spec.image = image.id;
  TRY_ASSIGN(Machine machine, store.create(std::move(spec)));
  ScopeExit undo([&] { (void)store.remove(machine); });
  TRY(make_disk(machine, image));
  undo.release();
  return machine;
}

Result<proto::VmConfig> vm_config(const Machine& machine, const image::Image& image) {
  const MachineSpec& spec = machine.spec;
  proto::VmConfig out;
  static_cast<proto::DeviceConfig&>(out) = spec.devices;
  out.name = spec.name;
  out.memory = spec.memory;
  out.vcpus = spec.vcpus;
  out.engine = spec.engine;
  out.cpu = spec.cpu;
  out.kernel = image.kernel_path;
  out.initrd = image.initrd_path;
  out.append = image.append + mount_words(spec) + (spec.append.empty() ? "" : " " + spec.append);
  std::vector<proto::DiskConfig> disks = {{.path = machine.places.disk(), .format = "qcow2", .backing = {image.disk_path}}};
  if (std::filesystem::exists(machine.places.seed())) {
    disks.push_back({.path = machine.places.seed(), .format = "raw", .read_only = true, .serial = "seed"});
  }
  out.disks.insert(out.disks.begin(), disks.begin(), disks.end());
  for (std::size_t i = 0; i < spec.shares.size(); ++i) {
    out.shares.push_back({.tag = share_tag(i), .path = spec.shares[i].host, .read_only = spec.shares[i].read_only});
  }
  out.rng = true;
  if (!out.balloon) out.balloon.emplace();
  if (!out.vsock) out.vsock = proto::VsockConfig{.cid = guest_cid, .path = machine.places.vsock()};
  out.control = machine.places.control();
  if (out.serial.empty()) out.serial.push_back({proto::CharConfig::Type::stdio});
  TRY(out.validate());
  return out;
}

}  // namespace nagaya::domain
