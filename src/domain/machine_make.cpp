#include "domain/machine_make.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "block/create.hpp"
#include "host/fd.hpp"
#include "image/kernel.hpp"
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

std::string name_of(const std::string& variable) { return variable.substr(0, variable.find('=')); }

/// The RAM disk of an OCI image's machine: the kernel's, and behind it what nagaya-init is to do.
Result<> make_initrd(const Machine& machine, const image::Image& image, const proto::InitConfig& config) {
  TRY_ASSIGN(std::vector<u8> bytes, host::read_file(image.initrd_path, 256 * MiB));
  bytes.resize((bytes.size() + 3) & ~std::size_t{3});
  const std::vector<u8> more = image::init_config_cpio(config);
  bytes.insert(bytes.end(), more.begin(), more.end());
  return host::replace_file(machine.places.initrd(), bytes);
}

Result<> be_service(const Machine& machine, const image::Image& image, proto::VmConfig& out) {
  // A person sits at both ends of the console, or a program does.
  const bool terminal = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
  TRY_ASSIGN(const proto::InitConfig config, init_config(machine.spec, image, terminal));
  TRY(make_initrd(machine, image, config));
  out.initrd = machine.places.initrd();
  out.consoles.push_back({.where = {proto::CharConfig::Type::file, machine.places.status()}, .name = proto::status_port_name, .terminal = false});
  return {};
}

}  // namespace

Result<proto::InitConfig> init_config(const MachineSpec& spec, const image::Image& image, bool terminal) {
  const image::OciConfig& oci = image.oci;
  proto::InitConfig out{.hostname = image::check_hostname(hostname_of(spec)) ? hostname_of(spec) : "",
                        .env = oci.env,
                        .workdir = spec.workdir.empty() ? oci.workdir : spec.workdir,
                        .user = spec.user.empty() ? oci.user : spec.user,
                        .stop_signal = oci.stop_signal,
                        .terminal = terminal,
                        .network = spec.networks != std::vector<std::string>{"none"}};
  // Another entry point takes the image's command away with its own; an empty one leaves only the command.
  if (!spec.entrypoint) {
    out.args = oci.entrypoint;
  } else if (!spec.entrypoint->empty()) {
    out.args = {*spec.entrypoint};
  }
  const std::vector<std::string> none;
  const auto& command = !spec.command.empty() ? spec.command : spec.entrypoint ? none : oci.cmd;
  out.args.insert(out.args.end(), command.begin(), command.end());
  for (const std::string& one : spec.env) {
    std::erase_if(out.env, [&](const std::string& other) { return name_of(other) == name_of(one); });
    out.env.push_back(one);
  }
  if (!out.workdir.empty() && out.workdir[0] != '/') out.workdir = "/" + out.workdir;
  for (std::size_t i = 0; i < spec.shares.size(); ++i) {
    out.mounts.push_back({.tag = share_tag(i), .place = spec.shares[i].guest, .read_only = spec.shares[i].read_only});
  }
  TRY(out.validate());
  return out;
}

Result<Machine> make_machine(const MachineStore& store, const image::Image& image, MachineSpec spec,
                             const std::function<Result<>(const Machine&)>& complete) {
  if (image.disk_path.empty()) return fail(fmt::format("image '{}'", spec.image_name), "it has no disk to start from");
  if (image.kernel_path.empty()) {
    return fail(fmt::format("image '{}'", spec.image_name), "there is no kernel for it", "'nagaya build kernel' makes one");
  }
  if (image.kind == image::Kind::oci) {
    TRY(init_config(spec, image, false));
    if (!spec.user_data.empty()) return fail("user data", "images of programs have no cloud-init");
  }
  spec.image = image.id;
  if (!spec.hostname.empty()) TRY(image::check_hostname(spec.hostname));
  return store.create(std::move(spec), [&](const Machine& machine) -> Result<> {
    TRY(make_disk(machine, image));
    TRY(make_seed(machine));
    return complete ? complete(machine) : Result<>();
  });
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
  out.numa_node = spec.numa_node;
  out.kernel = image.kernel_path;
  out.initrd = image.initrd_path;
  if (image.kind == image::Kind::disk) {
    TRY_ASSIGN(const auto keys, keys_of(spec));
    for (const auto& [name, value] : image::credentials(keys)) out.fw_cfg.push_back({.name = name, .text = value});
  }
  const std::string name_word = image.kind == image::Kind::disk ? image::hostname_word(hostname_of(spec)) : "";
  out.append = image.append + (name_word.empty() ? "" : " " + name_word) + (image.kind == image::Kind::disk ? mount_words(spec) : "") + (spec.append.empty() ? "" : " " + spec.append);
  std::vector<proto::DiskConfig> disks = {{.path = machine.places.disk(), .format = "qcow2", .backing = {image.disk_path}}};
  if (std::filesystem::exists(machine.places.seed())) {
    disks.push_back({.path = machine.places.seed(), .format = "raw", .read_only = true, .serial = "seed"});
  }
  out.disks.insert(out.disks.begin(), disks.begin(), disks.end());
  for (std::size_t i = 0; i < spec.shares.size(); ++i) {
    out.shares.push_back({.tag = share_tag(i), .path = spec.shares[i].host, .read_only = spec.shares[i].read_only});
  }
  if (image.kind == image::Kind::oci) TRY(be_service(machine, image, out));
  out.rng = true;
  if (!out.balloon) out.balloon.emplace();
  if (!out.vsock) out.vsock = proto::VsockConfig{.cid = guest_cid, .path = machine.places.vsock()};
  out.control = machine.places.control();
  if (out.serial.empty()) out.serial.push_back({proto::CharConfig::Type::stdio});
  TRY(out.validate());
  return out;
}

}  // namespace nagaya::domain
