#include "agent/guest/system.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bit>
#include <cstdio>
#include <ctime>
#include <map>

#include "base/scope.hpp"
#include "host/process.hpp"

namespace nagaya::agent::guest {

std::vector<std::string> describe_self() {
  utsname name{};
  ::uname(&name);
  return {"version=" NAGAYA_VERSION, "protocol=" + std::to_string(version), std::string("hostname=") + name.nodename,
          std::string("kernel=") + name.release};
}

Result<> set_time(u64 ns) {
  const timespec now{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  if (::clock_settime(CLOCK_REALTIME, &now) != 0) return fail_errno("cannot set the guest's clock");
  return {};
}

Result<> power(Power kind) {
  const bool off = kind == Power::off;
  if (::access("/run/systemd/system", F_OK) == 0) {
    TRY_ASSIGN(auto child, host::Process::spawn({.program = "systemctl", .args = {"--no-block", off ? "poweroff" : "reboot"}}));
    TRY_ASSIGN(const host::ExitStatus status, child.wait());
    if (status.shell_status() != 0) return fail("systemctl in the guest failed");
    return {};
  }
  ::sync();
  if (::reboot(off ? RB_POWER_OFF : RB_AUTOBOOT) != 0) return fail_errno("cannot switch the guest off");
  return {};
}

Result<std::vector<std::string>> addresses() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return fail_errno("cannot list the guest's interfaces");
  ScopeExit done([&] { ::freeifaddrs(first); });
  struct Interface {
    std::string hardware = "-", rest;
  };
  std::map<std::string, Interface> all;
  for (const ifaddrs* at = first; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_flags & IFF_LOOPBACK) continue;
    Interface& interface = all[at->ifa_name];
    char text[INET6_ADDRSTRLEN];
    const auto add = [&](const void* address, const void* mask, std::size_t size) {
      ::inet_ntop(at->ifa_addr->sa_family, address, text, sizeof text);
      int bits = 0;
      for (std::size_t i = 0; mask != nullptr && i < size; ++i) bits += std::popcount(static_cast<const u8*>(mask)[i]);
      interface.rest += std::string(" ") + text + "/" + std::to_string(bits);
    };
    if (at->ifa_addr->sa_family == AF_INET) {
      const auto* mask = reinterpret_cast<const sockaddr_in*>(at->ifa_netmask);
      add(&reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr, mask != nullptr ? &mask->sin_addr : nullptr, 4);
    } else if (at->ifa_addr->sa_family == AF_INET6) {
      const auto* mask = reinterpret_cast<const sockaddr_in6*>(at->ifa_netmask);
      add(&reinterpret_cast<const sockaddr_in6*>(at->ifa_addr)->sin6_addr, mask != nullptr ? &mask->sin6_addr : nullptr, 16);
    } else if (at->ifa_addr->sa_family == AF_PACKET) {
      const auto* link = reinterpret_cast<const sockaddr_ll*>(at->ifa_addr);
      if (link->sll_halen != 6) continue;
      char hardware[18];
      std::snprintf(hardware, sizeof hardware, "%02x:%02x:%02x:%02x:%02x:%02x", link->sll_addr[0], link->sll_addr[1], link->sll_addr[2],
                    link->sll_addr[3], link->sll_addr[4], link->sll_addr[5]);
      interface.hardware = hardware;
    }
  }
  std::vector<std::string> out;
  for (const auto& [name, interface] : all) out.push_back(name + " " + interface.hardware + interface.rest);
  return out;
}

}  // namespace nagaya::agent::guest
