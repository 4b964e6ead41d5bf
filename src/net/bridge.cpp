#include "net/bridge.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "base/log.hpp"
#include "base/scope.hpp"
#include "host/new_file.hpp"
#include "net/inside.hpp"
#include "net/mac.hpp"
#include "net/tool.hpp"

namespace nagaya::net {
namespace {

constexpr u64 longest_lease = 64 * KiB;

std::span<const u8> bytes_of(const std::string& text) { return {reinterpret_cast<const u8*>(text.data()), text.size()}; }

/// Changes to a network happen one at a time.
Result<host::Fd> lock_folder(const std::string& folder) {
  TRY_ASSIGN(host::Fd lock, host::Fd::open(folder + "/lock", O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX) != 0) return fail_errno("cannot lock the network");
  return lock;
}

Result<> write_setting(const std::string& path, const char* value) {
  const host::Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), value, std::strlen(value)) < 0) return fail_errno(fmt::format("cannot set '{}'", path));
  return {};
}

/// Machines whose process lives; `dead`: files of others. Call it with the folder's lock held.
Result<std::vector<Lease>> living(const std::string& folder, std::vector<std::string>* dead = nullptr) {
  std::vector<Lease> out;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder + "/leases", error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    const host::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) continue;
    if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
      if (dead != nullptr) dead->push_back(path);
      continue;
    }
    TRY_ASSIGN(const auto bytes, host::read_all(file.get(), longest_lease, path));
    auto lease = Lease::from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (!lease) return std::unexpected(std::move(lease).error().within(path));
    out.push_back(std::move(*lease));
  }
  if (error && error.value() != ENOENT) return fail_errno(fmt::format("cannot read the folder '{}/leases'", folder), error.value());
  std::ranges::sort(out, {}, &Lease::address);
  return out;
}

/// The process of the network's dnsmasq, or -1. A number that was given to another program since is not taken for it.
pid_t dnsmasq_of(const std::string& folder) {
  const auto text = host::read_file(folder + "/dnsmasq.pid", 64);
  if (!text) return -1;
  const pid_t pid = std::atoi(std::string(text->begin(), text->end()).c_str());
  if (pid <= 1) return -1;
  const auto command = host::read_file(fmt::format("/proc/{}/cmdline", pid), 64 * KiB);
  if (!command) return -1;
  const std::string words(command->begin(), command->end());
  return words.find("dnsmasq") != std::string::npos && words.find("--pid-file=" + folder + "/") != std::string::npos ? pid : -1;
}

void end_dnsmasq(const std::string& folder) {
  const pid_t pid = dnsmasq_of(folder);
  if (pid <= 0) return;
  // Its file goes before its sockets do: only the process's end tells.
  const host::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  ::kill(pid, SIGTERM);
  pollfd ended{process.get(), POLLIN, 0};
  if (process) (void)::poll(&ended, 1, 5000);
}

/// Brings rules and dnsmasq in line with who lives. dnsmasq starts anew each time: only so does it forget to whom it gave an
/// address that another machine has now. Those who live keep theirs, since it is in the list.
Result<> refresh(const Network& network, const std::string& folder) {
  std::vector<std::string> dead;
  TRY_ASSIGN(const auto leases, living(folder, &dead));
  TRY(run_tool("nft", {"-f", "-"}, nft_script(network, leases)));
  TRY(host::replace_file(folder + "/hosts", bytes_of(dnsmasq_hosts(leases))));
  TRY(host::replace_file(folder + "/names", bytes_of(dnsmasq_names(leases))));
  for (const char* file : {"/hosts", "/names"}) (void)::chmod((folder + file).c_str(), 0644);
  end_dnsmasq(folder);
  TRY(run_tool("dnsmasq", dnsmasq_args(network, folder)));  // goes into the background by itself
  // Last: should we be killed before, they are found again.
  for (const std::string& path : dead) ::unlink(path.c_str());
  host::remove_stale_files(folder);
  return {};
}

/// A tap device without a life of its own.
Result<std::pair<host::Fd, std::string>> make_tap() {
  TRY_ASSIGN(host::Fd tap, host::Fd::open("/dev/net/tun", O_RDWR | O_NONBLOCK));
  ifreq request{};
  std::strncpy(request.ifr_name, "nytap%d", IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return fail_errno("cannot make a tap device");
  return std::pair{std::move(tap), std::string(request.ifr_name)};
}

/// The host's end of a container's pair of cards. Part of the address makes the name: the bridge has one card of that address at most.
std::string outer_card(const Lease& lease) {
  const Mac mac = parse_mac(lease.mac).value_or(Mac{});
  return fmt::format("nyv{:02x}{:02x}{:02x}{:02x}{:02x}", mac[1], mac[2], mac[3], mac[4], mac[5]);
}

CardInside inner_card(const Network& network, const Lease& lease, const std::string& card) {
  return {.name = card, .mac = parse_mac(lease.mac).value_or(Mac{}), .mtu = network.effective_mtu(), .address = lease.address,
          .prefix = network.subnet.prefix, .gateway = network.internal ? std::optional<Ip4>() : network.gateway()};
}

/// Two cards back to back, one in the container's namespace; they go with it.
Result<> make_pair(const Network& network, const Lease& lease, int container, const std::string& card, bool held) {
  const std::string mtu = std::to_string(network.effective_mtu());
  const std::string ours = outer_card(lease);
  if (::if_nametoindex(ours.c_str()) != 0) (void)run_tool("ip", {"link", "del", ours});  // of a container that is just going away
  TRY(run_tool("ip", {"link", "add", ours, "mtu", mtu, "type", "veth", "peer", "name", card, "netns", fmt::format("/proc/{}/fd/{}", ::getpid(), container)}));
  ScopeExit undo([&] { (void)run_tool("ip", {"link", "del", ours}); });
  // Held: up, that routes can be set, but on no bridge, and the host does not answer there either.
  TRY(run_tool("ip", held ? std::vector<std::string>{"link", "set", ours, "arp", "off", "up"}
                          : std::vector<std::string>{"link", "set", ours, "master", bridge_name(network), "up"}));
  TRY(configure_inside(container, inner_card(network, lease, card)));
  undo.release();
  return {};
}

/// A socket bound to a published port: packets are translated before they reach it.
Result<host::Fd> reserve(const PortSpec& spec) {
  host::Fd fd(::socket(AF_INET, (spec.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(spec.host);
  address.sin_addr.s_addr = htonl(spec.address.value);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(fmt::format("cannot publish port {}", spec.text()), 0, errno == EADDRINUSE ? "take another port of the host" : "");
  }
  return fd;
}

Result<> bring_up(const Network& network, const std::string& folder) {
  TRY(bridge_possible());
  const std::string bridge = bridge_name(network);
  Undo undo;
  std::error_code ignored;
  std::filesystem::create_directories(folder + "/leases", ignored);
  if (::if_nametoindex(bridge.c_str()) == 0) {
    TRY(run_tool("ip", {"link", "add", bridge, "type", "bridge"}));
    undo.add([bridge] { (void)run_tool("ip", {"link", "del", bridge}); });
    TRY(run_tool("ip", {"addr", "add", fmt::format("{}/{}", network.gateway().text(), network.subnet.prefix), "dev", bridge}));
    TRY(run_tool("ip", {"link", "set", bridge, "mtu", std::to_string(network.effective_mtu()), "up"}));
  }
  if (!network.internal) TRY(write_setting("/proc/sys/net/ipv4/ip_forward", "1"));
  // Lets this host reach published ports by its loopback; without it the other addresses still work.
  if (auto set = write_setting(fmt::format("/proc/sys/net/ipv4/conf/{}/route_localnet", bridge), "1"); !set) log::info("{}", set.error().message());
  undo.add([table = table_name(network)] { (void)run_tool("nft", {"delete", "table", "ip", table}); });
  if (dnsmasq_of(folder) <= 0) undo.add([folder] { end_dnsmasq(folder); });
  TRY(refresh(network, folder));
  undo.commit();
  return {};
}

}  // namespace

Result<> bridge_possible() {
  if (::geteuid() != 0) return fail("a bridge network needs root", {}, "take a network with the driver 'user', or run as root");
  for (const char* program : {"ip", "nft", "dnsmasq"}) {
    if (!have_tool(program)) TRY(run_tool(program, {}));  // gives the error that says what to install
  }
  if (auto rules = run_tool("nft", {"list", "tables"}); !rules) {
    return fail("this kernel's nftables cannot be used", rules.error().why, "modprobe nf_tables, or boot a kernel that has it");
  }
  if (::access("/dev/net/tun", R_OK | W_OK) != 0) return fail_errno("cannot use /dev/net/tun", 0, "modprobe tun");
  return {};
}

Result<> bridge_up(const Network& network, const std::string& folder) {
  TRY_ASSIGN(const host::Fd lock, lock_folder(folder));
  return bring_up(network, folder);
}

Result<> bridge_down(const Network& network, const std::string& folder) {
  TRY_ASSIGN(const host::Fd lock, lock_folder(folder));
  TRY_ASSIGN(const auto leases, living(folder));
  if (!leases.empty()) {
    return fail(fmt::format("network '{}' is in use", network.name), fmt::format("{} machines are on it", leases.size()), "stop them first");
  }
  if (::geteuid() != 0) return fail(fmt::format("cannot remove the bridge of network '{}'", network.name), "it needs root");
  end_dnsmasq(folder);
  if (const auto tables = run_tool("nft", {"list", "tables"}); tables && tables->find("table ip " + table_name(network) + "\n") != std::string::npos) {
    TRY(run_tool("nft", {"delete", "table", "ip", table_name(network)}));
  }
  if (::if_nametoindex(bridge_name(network).c_str()) != 0) TRY(run_tool("ip", {"link", "del", bridge_name(network)}));
  return {};
}

Result<> bridge_tidy(const Network& network, const std::string& folder) {
  if (::access((folder + "/leases").c_str(), F_OK) != 0) return {};
  TRY_ASSIGN(const host::Fd lock, lock_folder(folder));
  std::vector<std::string> dead;
  TRY(living(folder, &dead));
  host::remove_stale_files(folder);
  if (dead.empty()) return {};
  if (::if_nametoindex(bridge_name(network).c_str()) != 0) return refresh(network, folder);
  for (const std::string& path : dead) ::unlink(path.c_str());
  return {};
}

Result<std::unique_ptr<BridgePort>> bridge_join(const Network& network, const std::string& folder, Lease lease, int container,
                                                const std::string& card, bool held) {
  TRY_ASSIGN(const host::Fd lock, lock_folder(folder));
  if (::if_nametoindex(bridge_name(network).c_str()) == 0) {
    TRY(bring_up(network, folder));
  } else {
    TRY(bridge_possible());
    // The bridge may be older than this folder, which somebody has emptied.
    std::error_code ignored;
    std::filesystem::create_directories(folder + "/leases", ignored);
  }
  TRY_ASSIGN(const auto others, living(folder));
  const auto given = [&](Ip4 address) { return std::ranges::any_of(others, [&](const Lease& o) { return o.address == address; }); };
  const bool may_have_it = network.subnet.contains(lease.address) && lease.address >= network.subnet.at(2) &&
                           lease.address < network.subnet.at(network.subnet.size() - 1);
  if (!may_have_it || given(lease.address)) {
    u32 number = 2;
    while (given(network.subnet.at(number))) ++number;
    if (number + 1 >= network.subnet.size()) return fail(fmt::format("network '{}' has no free address", network.name));
    lease.address = network.subnet.at(number);
  }
  for (const Lease& other : others) {
    if (other.mac == lease.mac) return fail(fmt::format("a machine with the address {} is on network '{}' already", lease.mac, network.name));
  }
  std::vector<host::Fd> reserved;
  for (const PortSpec& spec : lease.publish) {
    TRY_ASSIGN(host::Fd fd, reserve(spec));
    reserved.push_back(std::move(fd));
  }
  host::Fd tap;
  if (container >= 0) {
    TRY(make_pair(network, lease, container, card, held));
  } else {
    TRY_ASSIGN(auto made, make_tap());
    TRY(run_tool("ip", {"link", "set", made.second, "master", bridge_name(network), "mtu", std::to_string(network.effective_mtu()), "up"}));
    tap = std::move(made.first);
  }
  std::string file = lease.mac;
  std::ranges::replace(file, ':', '-');
  const std::string path = folder + "/leases/" + file;
  TRY_ASSIGN(host::Fd record, host::Fd::open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
  ScopeExit forget([&] { ::unlink(path.c_str()); });
  if (::flock(record.get(), LOCK_EX | LOCK_NB) != 0) return fail_errno("cannot lock a lease");
  TRY(host::write_all(record.get(), lease.to_json()));
  TRY(refresh(network, folder));
  host::Fd inside;
  if (held) {
    TRY_ASSIGN(inside, host::Fd::duplicate(container));
  }
  forget.release();
  auto out = std::make_unique<BridgePort>(network, folder, std::move(lease), std::move(record), std::move(tap), std::move(reserved));
  if (held) out->hold(std::move(inside), card);
  return out;
}

BridgePort::BridgePort(Network network, std::string folder, Lease lease, host::Fd lock, host::Fd tap, std::vector<host::Fd> reserved)
    : network_(std::move(network)), folder_(std::move(folder)), lease_(std::move(lease)), lock_(std::move(lock)), tap_(std::move(tap)), reserved_(std::move(reserved)) {}

void BridgePort::hold(host::Fd container, std::string card) {
  container_ = std::move(container);
  card_ = std::move(card);
}

Result<> BridgePort::open() {
  if (!container_) return {};
  TRY(run_tool("ip", {"link", "set", outer_card(lease_), "master", bridge_name(network_)}));
  TRY(announce_inside(container_.get(), inner_card(network_, lease_, card_)));
  container_.reset();
  return {};
}

BridgePort::~BridgePort() {
  tap_.reset();
  const auto lock = lock_folder(folder_);
  lock_.reset();
  if (!lock) return;
  if (auto done = refresh(network_, folder_); !done) log::warning("network '{}': {}", network_.name, done.error().message());
}

}  // namespace nagaya::net
