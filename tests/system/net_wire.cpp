#include "net_wire.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>

namespace nagaya::system_test {

namespace {

constexpr std::size_t header_size = 12, control_size = 4, largest_message = 12 + 65535 + 18;

std::mutex told_mutex;

}  // namespace

Wire::Wire(const std::string& name, bool offloads) : offloads_(offloads) {
  for (unsigned i = 0; i < 2; ++i) {
    End& end = ends_[i];
    end.path = scratch(name + "-" + std::to_string(i));
    end.listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, end.path.c_str(), sizeof address.sun_path - 1);
    ::unlink(end.path.c_str());
    if (::bind(end.listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(end.listener, 1) != 0) std::abort();
  }
  for (unsigned i = 0; i < 2; ++i) ends_[i].thread = std::thread([this, i] { serve(i); });
}

Wire::~Wire() {
  ending_ = true;
  for (End& end : ends_) {
    ::shutdown(end.listener, SHUT_RDWR);
    if (const int peer = end.peer; peer >= 0) ::shutdown(peer, SHUT_RDWR);
  }
  for (End& end : ends_) {
    end.thread.join();
    ::close(end.listener);
  }
}

void Wire::serve(unsigned index) {
  End& end = ends_[index];
  std::vector<char> message;
  while (!ending_) {
    const int peer = ::accept4(end.listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer < 0) continue;
    end.peer = peer;
    {
      std::lock_guard lock(told_mutex);
      const auto& told = ends_[1 - index].told;
      if (!told.empty()) (void)::send(peer, told.data(), told.size(), MSG_NOSIGNAL);
    }
    for (;;) {
      message.resize(largest_message);
      const ssize_t bytes = ::recv(peer, message.data(), message.size(), 0);
      if (bytes <= 0) break;
      message.resize(static_cast<std::size_t>(bytes));
      if (message.size() == control_size) {
        if (!offloads_) continue;
        std::lock_guard lock(told_mutex);
        end.told = message;
      } else if (message.size() > header_size) {
        ++end.frames;
        end.largest = std::max(end.largest.load(), static_cast<unsigned>(message.size() - header_size));
      }
      pass(1 - index, message);
    }
    end.peer = -1;
    ::close(peer);
  }
}

void Wire::pass(unsigned end, const std::vector<char>& message) {
  if (const int peer = ends_[end].peer; peer >= 0) (void)::send(peer, message.data(), message.size(), MSG_NOSIGNAL);
}

Words net_run(const std::string& link, unsigned host, const std::string& commands, const Words& more) {
  const std::string setup = "modprobe virtio_pci; modprobe virtio_net; ip addr add 10.9.0." + std::to_string(host) +
                            "/24 dev eth0; ip link set lo up; ip link set eth0 up; ";
  Words words{"run", "--kernel", debian("vmlinuz-amd64"), "--initrd", debian("initrd-amd64-devices"), "--engine", "soft", "--no-reboot",
              "--net", link, "--append", "console=ttyS0 quiet panic=-1 guest_run=\"" + setup + commands + "\""};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace nagaya::system_test
