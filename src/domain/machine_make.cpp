#include "domain/machine_make.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/scope.hpp"
#include "block/create.hpp"
#include "host/fd.hpp"
#include "image/seed.hpp"

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

std::string hostname_of(const MachineSpec& spec) { return spec.hostname.empty() ? spec.name : spec.hostname; }

/// Keys that let this user in: the default one, and those asked for.
Result<std::vector<std::string>> keys_of(const MachineSpec& spec) {
  TRY_ASSIGN(const image::DefaultKey own, image::default_key());
  std::vector<std::string> out{own.public_line};
  for (const std::string& key : spec.ssh_keys) {
    TRY(image::check_ssh_key(key));
    out.push_back(key);
  }
  return out;
}

/// Name and keys come with each start (see vm_config); only user data needs cloud-init and what that costs.
Result<> make_seed(const Machine& machine) {
  const MachineSpec& spec = machine.spec;
  if (spec.user_data.empty()) return {};
  TRY_ASSIGN(const auto keys, keys_of(spec));
  image::SeedConfig config{.instance_id = fmt::format("{}-{}", spec.name, spec.created), .ssh_keys = keys, .user_data = spec.user_data};
  if (image::check_hostname(hostname_of(spec))) config.hostname = hostname_of(spec);
  TRY_ASSIGN(const std::vector<u8> seed, image::make_seed(config));
  return host::replace_file(machine.places.seed(), seed);
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
  if (!machine.spec.hostname.empty()) TRY(image::check_hostname(machine.spec.hostname));
  TRY(make_seed(machine));
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
  if (image.kind == image::Kind::disk) {
    TRY_ASSIGN(const auto keys, keys_of(spec));
    for (const auto& [name, value] : image::credentials(keys)) out.fw_cfg.push_back({.name = name, .text = value});
  }
  const std::string name_word = image.kind == image::Kind::disk ? image::hostname_word(hostname_of(spec)) : "";
  out.append = image.append + (name_word.empty() ? "" : " " + name_word) + mount_words(spec) + (spec.append.empty() ? "" : " " + spec.append);
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
