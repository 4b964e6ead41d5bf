// The catalogue: every device a machine can have, one line each, in the order in which they are built, resumed, saved
// and restored (and in reverse paused). Interrupt controllers and the PIT come before all of them (interrupts.hpp).
#include <fmt/format.h>

#include <array>
#include <string>

#include "block/open.hpp"
#include "chipset/host_bridge.hpp"
#include "chipset/i8042.hpp"
#include "chipset/pm.hpp"
#include "chipset/rtc.hpp"
#include "devices/debug_console.hpp"
#include "devices/debug_exit.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/pc_testdev.hpp"
#include "devices/serial.hpp"
#include "machine/board.hpp"
#include "machine/fw_cfg_items.hpp"
#include "net/mac.hpp"
#include "virtio/balloon/balloon.hpp"
#include "virtio/blk/blk.hpp"
#include "virtio/console/console.hpp"
#include "virtio/fs/fs.hpp"
#include "virtio/pmem/pmem.hpp"
#include "virtio/net/net.hpp"
#include "virtio/rng/rng.hpp"
#include "virtio/virtio_pci.hpp"
#include "virtio/vsock/vsock.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::machine {
namespace {

namespace pc = x86::pc;
using proto::VmConfig;

struct Slot {
  Board& board;
  BoardIo& io;
  const VmConfig& config;
};

Result<> build_rtc(Slot s) {
  const u64 size = s.board.memory.ram_size();
  const chipset::RtcConfig config{.ram_below_4g = std::min(size, pc::ram_low_limit),
                                  .ram_above_4g = size - std::min(size, pc::ram_low_limit),
                                  .cpus = s.config.vcpus};
  auto& rtc = s.board.add(std::make_unique<chipset::Rtc>(s.board.clock, s.board.line(pc::rtc_irq), config));
  return s.io.ports.add(pc::rtc_port, chipset::Rtc::io_size, rtc.ports(), "rtc");
}

Result<> build_pm(Slot s) {
  auto& pm = s.board.add(std::make_unique<chipset::Pm>(
      s.board.clock, s.board.line(pc::sci_irq),
      chipset::PmConfig{.power_off = s.board.signals.power_off, .reset = s.board.signals.reset}));
  s.board.pm = &pm;
  TRY(s.io.ports.add(pc::pm_base, chipset::Pm::io_size, pm.ports(), "pm"));
  return s.io.ports.add(pc::smi_command_port, 2, pm.smi_ports(), "smi command");
}

Result<> build_host_bridge(Slot s) {
  // The reset control register is inside the bridge's configuration address port.
  auto& bridge = s.board.add(std::make_unique<chipset::HostBridge>(s.board.pci));
  return bridge.attach(s.io.ports, s.io.mmio, pc::ecam_base, pc::ecam_size, &s.board.pm->reset_port());
}

Result<> build_i8042(Slot s) {
  auto& i8042 = s.board.add(std::make_unique<chipset::I8042>(s.board.line(pc::keyboard_irq), s.board.line(pc::mouse_irq),
                                                             chipset::I8042Config{.reset = s.board.signals.reset}));
  TRY(s.io.ports.add(pc::i8042_data_port, 1, i8042.data_port(), "i8042 data"));
  TRY(s.io.ports.add(pc::i8042_command_port, 1, i8042.command_port(), "i8042 command"));
  return s.io.ports.add(pc::port92, 1, i8042.port92(), "port 92h");
}

Result<> build_serial(Slot s) {
  struct Place {
    u16 port;
    unsigned irq;
  };
  constexpr std::array places = {Place{pc::serial0_port, pc::serial0_irq}, Place{pc::serial1_port, pc::serial1_irq},
                                 Place{pc::serial2_port, pc::serial2_irq}, Place{pc::serial3_port, pc::serial3_irq}};
  for (std::size_t i = 0; i < s.config.serial.size(); ++i) {
    const std::string name = fmt::format("serial{}", i);
    auto& serial = s.board.add(
        std::make_unique<devices::Serial>(name, s.board.clock, s.board.line(places[i].irq), s.board.ends.serial[i]));
    TRY(s.io.ports.add(places[i].port, devices::Serial::io_size, serial.ports(), name));
  }
  return {};
}

Result<> build_fw_cfg(Slot s) {
  TRY_ASSIGN(auto items, make_fw_cfg_items(s.config, s.board.memory));
  auto& fw_cfg = s.board.add(std::make_unique<devices::FwCfg>(s.board.memory, std::move(items)));
  return s.io.ports.add(pc::fw_cfg_port, devices::FwCfg::io_size, fw_cfg, "fw_cfg");
}

Result<> build_debug_console(Slot s) {
  auto& console = s.board.add(std::make_unique<devices::DebugConsole>(*s.board.ends.debug_console));
  return s.io.ports.add(pc::debug_console_port, devices::DebugConsole::io_size, console, "debug console");
}

Result<> build_debug_exit(Slot s) {
  auto& exit = s.board.add(std::make_unique<devices::DebugExit>(s.board.signals.debug_exit));
  return s.io.ports.add(pc::debug_exit_port, devices::DebugExit::io_size, exit, "debug exit");
}

Result<> build_testdev(Slot s) {
  auto& test = s.board.add(std::make_unique<devices::PcTestdev>(s.board.irqs));
  TRY(s.io.ports.add(pc::testdev_ioport, devices::PcTestdev::io_size, test.ioport(), "testdev echo"));
  TRY(s.io.ports.add(pc::testdev_flush_port, devices::PcTestdev::flush_size, test.flush_port(), "testdev flush"));
  TRY(s.io.ports.add(pc::testdev_irq_port, devices::PcTestdev::irq_size, test.irq_port(), "testdev irq"));
  return s.io.mmio.add(pc::testdev_mmio_base, devices::PcTestdev::mmio_size, test.mmio(), "testdev memory");
}

Result<> add_virtio(Slot s, std::unique_ptr<virtio::VirtioDevice> device) {
  auto& function = s.board.add(std::make_unique<virtio::VirtioPci>(std::move(device)));
  if (s.board.next_pci_slot > 31) return fail(std::string(function.name()), "all 32 places of the PCI bus are taken");
  return s.board.pci.add(function, {0, s.board.next_pci_slot++, 0});
}

Result<> build_disks(Slot s) {
  for (std::size_t i = 0; i < s.config.disks.size(); ++i) {
    const proto::DiskConfig& wanted = s.config.disks[i];
    TRY_ASSIGN(const auto format, block::parse_format(wanted.format));
    const auto io = wanted.io == "threads"    ? block::IoMethod::threads
                    : wanted.io == "io_uring" ? block::IoMethod::io_uring
                                              : block::IoMethod::automatic;
    TRY_ASSIGN(auto disk, block::open_disk({.path = wanted.path,
                                            .format = format,
                                            .read_only = wanted.read_only,
                                            .allowed_backing = wanted.backing,
                                            .io = io,
                                            .throttle = {.iops = {wanted.limits.iops, wanted.limits.iops_burst},
                                                         .bps = {wanted.limits.bps, wanted.limits.bps_burst}}}));
    const unsigned queues = std::min(s.config.vcpus, 4u);
    const std::string name = fmt::format("disk{}", i);
    virtio::BlkConfig blk{.queues = queues, .serial = wanted.serial};
    blk.out_of_space = [full = s.board.signals.disk_full, i] { full(i); };
    auto device = std::make_unique<virtio::Blk>(name, s.board.memory, std::move(disk), std::move(blk));
    if (wanted.ring == "split") device->withhold(virtio::f_packed);
    s.board.disks.push_back({name, wanted.path, *device});
    TRY(add_virtio(s, std::move(device)));
  }
  return {};
}

Result<> build_rng(Slot s) { return add_virtio(s, std::make_unique<virtio::Rng>("rng0", s.board.memory)); }

Result<> build_shares(Slot s) {
  // What the guest remembers takes descriptors of this process; some are left for everything else.
  constexpr u64 others = 512;
  const u64 limit = fuse::raise_descriptor_limit();
  const u64 each = (limit - std::min(limit / 2, others)) / s.config.shares.size();
  for (std::size_t i = 0; i < s.config.shares.size(); ++i) {
    const proto::ShareConfig& wanted = s.config.shares[i];
    TRY_ASSIGN(auto server, fuse::Server::open({.path = wanted.path, .read_only = wanted.read_only, .descriptors = each}));
    TRY(add_virtio(s, std::make_unique<virtio::Fs>(fmt::format("share{}", i), s.board.memory, std::move(server),
                                                   virtio::FsConfig{.tag = wanted.tag, .request_queues = std::min(s.config.vcpus, 4u)})));
  }
  return {};
}

Result<> build_pmems(Slot s) {
  for (std::size_t i = 0; i < s.config.pmems.size(); ++i) {
    const proto::PmemConfig& wanted = s.config.pmems[i];
    TRY_ASSIGN(auto file, virtio::PmemFile::open(wanted.path, wanted.read_only));
    TRY_ASSIGN(const u64 place, s.board.resources.mmio64.allocate(file.size, virtio::PmemFile::alignment));
    TRY(s.board.memory.add_file(Gpa(place), file.fd.get(), file.file_size, file.size, !wanted.read_only));
    TRY(add_virtio(s, std::make_unique<virtio::Pmem>(fmt::format("pmem{}", i), s.board.memory, std::move(file), Gpa(place))));
  }
  return {};
}

Result<> build_nets(Slot s) {
  for (unsigned i = 0; i < s.config.nets.size(); ++i) {
    const proto::NetConfig& wanted = s.config.nets[i];
    // Machines in tests have them opened here.
    if (s.board.links.size() <= i) {
      TRY_ASSIGN(s.board.links, open_net_links(s.config));
    }
    const auto mac = wanted.mac.empty() ? net::mac_of_name(s.config.name, i) : net::parse_mac(wanted.mac);
    if (!mac) return fail(fmt::format("MAC address '{}'", wanted.mac), "it must be six bytes like 52:54:00:12:34:56");
    TRY_ASSIGN(auto card, virtio::Net::create(fmt::format("net{}", i), s.board.memory, std::move(s.board.links[i]),
                                              {.mac = *mac,
                                               .mtu = static_cast<u16>(wanted.mtu),
                                               .rate_in = wanted.rate_in,
                                               .rate_out = wanted.rate_out}));
    s.board.nets.push_back(card.get());
    TRY(add_virtio(s, std::move(card)));
  }
  return {};
}

Result<> build_console(Slot s) {
  std::vector<virtio::ConsolePort> ports;
  for (std::size_t i = 0; i < s.config.consoles.size(); ++i) {
    const proto::ConsoleConfig& port = s.config.consoles[i];
    ports.push_back({.name = port.name, .console = port.terminal, .backend = s.board.ends.consoles[i]});
  }
  auto console = std::make_unique<virtio::Console>("console0", s.board.memory, std::move(ports));
  s.board.console = console.get();
  return add_virtio(s, std::move(console));
}

Result<> build_vsock(Slot s) {
  const proto::VsockConfig& wanted = *s.config.vsock;
  TRY_ASSIGN(auto vsock, virtio::Vsock::create("vsock0", s.board.memory, {.cid = wanted.cid, .path = wanted.path}));
  s.board.vsock = vsock.get();
  return add_virtio(s, std::move(vsock));
}

Result<> build_balloon(Slot s) {
  const virtio::BalloonOptions options{.deflate_on_oom = s.config.balloon->deflate_on_oom,
                                       .free_page_reporting = s.config.balloon->free_page_reporting};
  auto balloon = std::make_unique<virtio::Balloon>("balloon0", s.board.memory, options);
  s.board.balloon = balloon.get();
  return add_virtio(s, std::move(balloon));
}

struct Entry {
  bool (*wanted)(const VmConfig&, const CharEnds&);
  Result<> (*build)(Slot);
};

constexpr auto always = [](const VmConfig&, const CharEnds&) { return true; };

constexpr std::array catalogue = {
    Entry{always, build_rtc},
    Entry{always, build_pm},
    Entry{always, build_host_bridge},
    Entry{always, build_i8042},
    Entry{[](const VmConfig& c, const CharEnds&) { return !c.serial.empty(); }, build_serial},
    Entry{always, build_fw_cfg},
    Entry{[](const VmConfig&, const CharEnds& ends) { return ends.debug_console != nullptr; }, build_debug_console},
    Entry{[](const VmConfig& c, const CharEnds&) { return c.debug_exit; }, build_debug_exit},
    Entry{[](const VmConfig& c, const CharEnds&) { return c.testdev; }, build_testdev},
    Entry{[](const VmConfig& c, const CharEnds&) { return !c.disks.empty(); }, build_disks},
    Entry{[](const VmConfig& c, const CharEnds&) { return c.rng; }, build_rng},
    Entry{[](const VmConfig& c, const CharEnds&) { return !c.shares.empty(); }, build_shares},
    Entry{[](const VmConfig& c, const CharEnds&) { return !c.pmems.empty(); }, build_pmems},
    Entry{[](const VmConfig& c, const CharEnds&) { return !c.nets.empty(); }, build_nets},
    Entry{[](const VmConfig& c, const CharEnds&) { return !c.consoles.empty(); }, build_console},
    Entry{[](const VmConfig& c, const CharEnds&) { return c.vsock.has_value(); }, build_vsock},
    Entry{[](const VmConfig& c, const CharEnds&) { return c.balloon.has_value(); }, build_balloon},
};

}  // namespace

Result<> populate(Board& board, BoardIo& io, const VmConfig& config) {
  for (const Entry& entry : catalogue) {
    if (entry.wanted(config, board.ends)) TRY(entry.build({board, io, config}));
  }
  return board.pci.assign(board.resources);
}

}  // namespace nagaya::machine
