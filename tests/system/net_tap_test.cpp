// A guest on a tap device, in a network namespace of the test's own: needs root.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <vector>

#include "net_wire.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;

/// This thread, and what it starts, in a network namespace with a tap device and the address 10.9.0.1.
class TapNamespace {
 public:
  explicit TapNamespace(bool several_queues) {
    home_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (::unshare(CLONE_NEWNET) != 0) {
      why_ = std::string("no network namespace of our own: ") + std::strerror(errno);
      return;
    }
    inside_ = true;
    tap_ = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    ifreq request{};
    std::strcpy(request.ifr_name, "t0");
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (several_queues ? IFF_MULTI_QUEUE : 0));
    if (tap_ < 0 || ::ioctl(tap_, TUNSETIFF, &request) != 0 || ::ioctl(tap_, TUNSETPERSIST, 1) != 0) {
      why_ = std::string("no tap device: ") + std::strerror(errno);
      return;
    }
    ::close(std::exchange(tap_, -1));
    const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    auto* address = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
    *address = {};
    address->sin_family = AF_INET;
    ::inet_pton(AF_INET, "10.9.0.1", &address->sin_addr);
    const bool addressed = ::ioctl(control, SIOCSIFADDR, &request) == 0;
    ::inet_pton(AF_INET, "255.255.255.0", &address->sin_addr);
    const bool masked = ::ioctl(control, SIOCSIFNETMASK, &request) == 0;
    request.ifr_flags = IFF_UP;
    if (!addressed || !masked || ::ioctl(control, SIOCSIFFLAGS, &request) != 0) why_ = std::string("no address: ") + std::strerror(errno);
    ::close(control);
  }
  ~TapNamespace() {
    if (inside_ && ::setns(home_, CLONE_NEWNET) != 0) std::abort();
    ::close(home_);
  }
  [[nodiscard]] const std::string& why_not() const { return why_; }

 private:
  int home_ = -1, tap_ = -1;
  bool inside_ = false;
  std::string why_;
};

/// Sends back what comes on a connection to port 7000, for `connections` of them. Made in the namespace.
class Echo {
 public:
  explicit Echo(unsigned connections) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(7000);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener_, 8) != 0) std::abort();
    acceptor_ = std::thread([this, connections] {
      std::vector<std::thread> threads;
      for (unsigned i = 0; i < connections; ++i) {
        const int peer = ::accept(listener_, nullptr, nullptr);
        if (peer < 0) break;
        threads.emplace_back([peer] { serve(peer); });
      }
      for (std::thread& thread : threads) thread.join();
    });
  }
  ~Echo() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
  }

 private:
  static void serve(int peer) {
    std::vector<char> all, part(1 << 18);
    for (ssize_t got; (got = ::recv(peer, part.data(), part.size(), 0)) > 0;) all.insert(all.end(), part.data(), part.data() + got);
    for (std::size_t at = 0; at < all.size();) {
      const ssize_t sent = ::send(peer, all.data() + at, all.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) break;
      at += static_cast<std::size_t>(sent);
    }
    ::close(peer);
  }

  int listener_ = -1;
  std::thread acceptor_;
};

/// The guest sends files of noise, gets them back, and compares.
std::string echoed(unsigned count) {
  std::string out =
      "for i in $(seq 100); do ping -c 1 -W 1 10.9.0.1 >/dev/null && break; done; ping -c 2 10.9.0.1; for n in $(seq " + std::to_string(count) +
      "); do dd if=/dev/urandom of=/tmp/f$n bs=1M count=6 2>/dev/null; done; for n in $(seq " + std::to_string(count) +
      "); do (nc 10.9.0.1 7000 </tmp/f$n >/tmp/g$n; echo end >/tmp/e$n) & done; for n in $(seq " + std::to_string(count) +
      "); do while [ ! -e /tmp/e$n ]; do sleep 0.1; done; cmp /tmp/f$n /tmp/g$n && echo same $n; done; ";
  return out + "ls -d /sys/class/net/eth0/queues/*; grep virtio /proc/interrupts";
}

TEST(NetTap, OneQueue) {
  TapNamespace place(false);
  if (!place.why_not().empty()) GTEST_SKIP() << place.why_not();
  Echo echo(1);
  const Outcome guest = run(net_run("tap=t0", 2, echoed(1)));
  EXPECT_EQ(guest.code, 0) << guest.errors;
  EXPECT_THAT(guest.output, HasSubstr("2 packets transmitted, 2 packets received"));
  EXPECT_THAT(guest.output, HasSubstr("same 1")) << guest.errors;
}

TEST(NetTap, SeveralQueues) {
  TapNamespace place(true);
  if (!place.why_not().empty()) GTEST_SKIP() << place.why_not();
  Echo echo(4);
  const Outcome guest = run(net_run("tap=t0,queues=2", 2, echoed(4), {"-c", "2"}));
  EXPECT_EQ(guest.code, 0) << guest.errors;
  for (const char* text : {"same 1", "same 2", "same 3", "same 4", "queues/rx-1", "queues/tx-1"}) EXPECT_THAT(guest.output, HasSubstr(text));
}

TEST(NetTap, ATapThatDoesNotFitIsAClearError) {
  TapNamespace place(false);
  if (!place.why_not().empty()) GTEST_SKIP() << place.why_not();
  const Outcome guest = run(net_run("tap=t0,queues=2", 2, "true"));
  EXPECT_EQ(guest.code, 125);
  EXPECT_THAT(guest.errors, HasSubstr("multi_queue"));
}

}  // namespace
}  // namespace nagaya::system_test
