#include "machine/saved_machine.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "machine/cpu_archive.hpp"
#include "net/mac.hpp"

namespace nagaya::machine {
namespace {

// Magic (8), file version (4), archive length (8, at most largest_archive), archive, RAM records (ram_file.hpp).
constexpr std::array<u8, 8> magic = {'N', 'A', 'G', 'A', 'Y', 'A', 'V', 'M'};
constexpr u32 file_version = 1;
constexpr std::size_t header_size = 20;
constexpr u64 largest_archive = 64 * MiB;

u64 get(const u8* at, std::size_t size) {
  u64 value = 0;
  for (std::size_t i = 0; i < size; ++i) value |= static_cast<u64>(at[i]) << (8 * i);
  return value;
}

Result<> read_header(SavedMachine& out) {
  TRY_ASSIGN(auto in, out.archive.open(header_section, header_version));
  const std::string text = in.get_string();
  out.engine = in.get_string();
  in.get(out.clock_ns);
  in.get(out.paravirtual_ns);
  in.get(out.tsc_hz);
  TRY(in.finish());
  TRY_ASSIGN(out.config, proto::VmConfig::from_json(text));
  return {};
}

}  // namespace

void put_header(state::Writer& out, const proto::VmConfig& config, const std::string& engine, u64 clock_ns,
                u64 paravirtual_ns, u64 tsc_hz) {
  out.put_string(config.to_json());
  out.put_string(engine);
  out.put(clock_ns);
  out.put(paravirtual_ns);
  out.put(tsc_hz);
}

Result<SavedMachine> open_saved_machine(const std::string& path) {
  const auto refuse = [&](std::string why) { return fail(fmt::format("cannot restore from '{}'", path), std::move(why)); };
  SavedMachine out;
  TRY_ASSIGN(out.fd, host::Fd::open(path, O_RDONLY));
  std::array<u8, header_size> header{};
  TRY_ASSIGN(const std::size_t got, host::read_up_to(out.fd.get(), header));
  if (got != header.size() || std::memcmp(header.data(), magic.data(), magic.size()) != 0) {
    return refuse("it is not a saved machine");
  }
  if (const u64 version = get(&header[8], 4); version != file_version) {
    return refuse(fmt::format("its format is {}, this program reads {}", version, file_version));
  }
  const u64 size = get(&header[12], 8);
  if (size > largest_archive) return refuse("its description is too long");
  // Read in steps: a length that lies costs no more memory than the file has bytes.
  std::vector<u8> bytes;
  while (bytes.size() < size) {
    const std::size_t have = bytes.size();
    bytes.resize(std::min<u64>(size, have + 256 * KiB));
    TRY_ASSIGN(const std::size_t more, host::read_up_to(out.fd.get(), std::span(bytes).subspan(have)));
    if (have + more != bytes.size()) return refuse("it is cut off");
  }
  auto archive = state::ArchiveReader::parse(std::move(bytes));
  if (!archive) return refuse(archive.error().message());
  out.archive = std::move(*archive);
  if (auto done = read_header(out); !done) return refuse(done.error().message());
  return out;
}

std::string cpuid_section(unsigned id) { return fmt::format("cpuid{}", id); }

Result<std::vector<x86::CpuidEntry>> saved_cpuid(const state::ArchiveReader& archive, unsigned id,
                                                 std::span<const x86::CpuidEntry> now, const std::string& engine) {
  TRY_ASSIGN(auto in, archive.open(cpuid_section(id), cpu_section_version));
  TRY_ASSIGN(auto table, get_cpuid(in));
  if (const auto loss = x86::cpuid_loss(table, now)) {
    return fail("cannot restore the machine", fmt::format("engine {} offers less than it had: {}", engine, *loss));
  }
  return table;
}

proto::VmConfig config_for_restore(const proto::VmConfig& saved, const proto::VmConfig& asked) {
  proto::VmConfig out = saved;
  out.name = asked.name;
  out.engine = asked.engine;
  out.soft = asked.soft;
  out.restore = asked.restore;
  out.numa_node = asked.numa_node;  // of this host
  out.no_reboot = asked.no_reboot;
  out.save_file = asked.save_file;
  out.save_then_exit = asked.save_then_exit;
  out.control = asked.control;
  for (std::size_t i = 0; i < out.serial.size(); ++i) {
    out.serial[i] = i < asked.serial.size() ? asked.serial[i] : proto::CharConfig{};
  }
  for (std::size_t i = 0; i < out.consoles.size(); ++i) {
    out.consoles[i].where = i < asked.consoles.size() ? asked.consoles[i].where : proto::CharConfig{};
  }
  if (out.vsock && asked.vsock) out.vsock->path = asked.vsock->path;
  // The same disks may lie elsewhere now; what is not named is where it was.
  for (std::size_t i = 0; i < out.disks.size() && i < asked.disks.size(); ++i) {
    const std::string serial = out.disks[i].serial;
    out.disks[i] = asked.disks[i];
    out.disks[i].serial = serial;
  }
  // The guest knows a share by its tag; the folder and the right to write are the host's to say.
  for (proto::ShareConfig& share : out.shares) {
    for (const proto::ShareConfig& given : asked.shares) {
      if (given.tag == share.tag) share = given;
    }
  }
  for (std::size_t i = 0; i < out.pmems.size() && i < asked.pmems.size(); ++i) out.pmems[i] = asked.pmems[i];
  for (unsigned i = 0; i < out.nets.size(); ++i) {
    proto::NetConfig& card = out.nets[i];
    // A guest keeps its address, also under another name.
    if (card.mac.empty()) card.mac = net::to_string(net::mac_of_name(saved.name, i));
    // A descriptor's number means nothing in another process.
    card.fd = -1;
    if (i >= asked.nets.size()) continue;
    const proto::NetConfig& now = asked.nets[i];
    card.fd = now.fd;
    card.socket = now.socket;
    card.tap = now.tap;
    card.rate_in = now.rate_in;
    card.rate_out = now.rate_out;
  }
  if (out.debug_console) out.debug_console = asked.debug_console.value_or(proto::CharConfig{});
  return out;
}

Result<> write_saved_machine(int fd, const std::string& name, const std::vector<u8>& description, const std::function<Result<>(int fd)>& ram) {
  const auto context = fmt::format("cannot save to '{}'", name);
  std::vector<u8> header(magic.begin(), magic.end());
  for (std::size_t i = 0; i < 4; ++i) header.push_back(static_cast<u8>(file_version >> (8 * i)));
  for (std::size_t i = 0; i < 8; ++i) header.push_back(static_cast<u8>(u64{description.size()} >> (8 * i)));
  for (const auto& write : {std::function([&] { return host::write_all(fd, header); }),
                            std::function([&] { return host::write_all(fd, description); }),
                            std::function([&] { return ram(fd); })}) {
    if (auto done = write(); !done) return std::unexpected(std::move(done.error()).within(context));
  }
  // A machine that ends after this must have come to the disk.
  if (::fsync(fd) != 0 && errno != EINVAL && errno != EROFS) return fail_errno(context);
  return {};
}

}  // namespace nagaya::machine
