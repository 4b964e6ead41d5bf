#include "net/tap.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

// Of Linux 6.2; the headers of older systems lack them.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace nagaya::net {

static_assert(offload::csum == TUN_F_CSUM && offload::tso4 == TUN_F_TSO4 && offload::tso6 == TUN_F_TSO6 &&
              offload::tso_ecn == TUN_F_TSO_ECN && offload::ufo == TUN_F_UFO && offload::uso4 == TUN_F_USO4 &&
              offload::uso6 == TUN_F_USO6);

namespace {

class TapLink final : public Link {
 public:
  // Whatever a guest sends, the host's kernel cuts and sums it where it has to; UDP segments since Linux 6.2.
  TapLink(host::Fd fd, bool uso)
      : Link(std::move(fd), uso ? offload::all : offload::all & ~(offload::uso4 | offload::uso6)), uso_(uso) {}

  std::size_t send(std::span<const Message> messages) override {
    for (std::size_t i = 0; i < messages.size();) {
      const ssize_t done = ::writev(fd(), messages[i].data(), static_cast<int>(messages[i].size()));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0 && errno == EAGAIN) return i;
      if (done < 0 && errno == EBADFD) close();  // the device was removed
      ++i;  // other failures, such as an interface that is down, lose the packet
    }
    return messages.size();
  }

  std::size_t receive(std::span<const iovec> parts) override {
    for (;;) {
      if (closed()) return nothing;
      const ssize_t done = ::readv(fd(), parts.data(), static_cast<int>(parts.size()));
      if (done > 0) return static_cast<std::size_t>(done);
      if (done < 0 && errno == EINTR) continue;
      if (done < 0 && errno == EBADFD) close();
      return nothing;
    }
  }

  bool tell_offloads(u32 bits) override {
    unsigned long wanted = bits & offload::all;
    if (!uso_) wanted &= ~static_cast<unsigned long>(offload::uso4 | offload::uso6);
    // Refused bits do no harm: the kernel then cuts packets itself.
    if (::ioctl(fd(), TUNSETOFFLOAD, wanted) != 0) (void)::ioctl(fd(), TUNSETOFFLOAD, 0UL);
    return true;
  }

  Result<> attach(bool on) override {
    ifreq request{};
    request.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    // EINVAL: it is so already, or the device has one queue only.
    if (::ioctl(fd(), TUNSETQUEUE, &request) != 0 && errno != EINVAL) return fail_errno("cannot change a tap's queues");
    return {};
  }

 private:
  const bool uso_;
};

/// Makes the header what wire.hpp says.
Result<std::unique_ptr<Link>> make_link(host::Fd fd, const std::string& context) {
  int size = header_size, little = 1;
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &size) != 0 || ::ioctl(fd.get(), TUNSETVNETLE, &little) != 0) return fail_errno(context);
  constexpr unsigned long with_uso = offload::csum | offload::uso4 | offload::uso6;
  const bool uso = ::ioctl(fd.get(), TUNSETOFFLOAD, with_uso) == 0;
  (void)::ioctl(fd.get(), TUNSETOFFLOAD, 0UL);
  TRY(host::set_nonblocking(fd.get()));
  return std::make_unique<TapLink>(std::move(fd), uso);
}

}  // namespace

Result<std::vector<std::unique_ptr<Link>>> open_tap(const std::string& name, unsigned queues) {
  const std::string context = fmt::format("cannot open tap device '{}'", name);
  if (name.empty() || name.size() >= IFNAMSIZ) return fail(context, "a name has 1 to 15 characters");
  std::vector<std::unique_ptr<Link>> links;
  for (unsigned i = 0; i < queues; ++i) {
    auto fd = host::Fd::open("/dev/net/tun", O_RDWR);
    if (!fd) return std::unexpected(std::move(fd.error()).within(context));
    ifreq request{};
    std::memcpy(request.ifr_name, name.data(), name.size());
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (queues > 1 ? IFF_MULTI_QUEUE : 0));
    if (::ioctl(fd->get(), TUNSETIFF, &request) != 0) {
      const int error = errno;
      return fail_errno(context, error,
                        error == EPERM    ? "make one that you own: ip tuntap add NAME mode tap vnet_hdr user YOU"
                        : error == EINVAL ? "was it made with 'vnet_hdr', and with 'multi_queue' for more than one queue?"
                        : error == EBUSY  ? "someone else uses it"
                                          : "");
    }
    TRY_ASSIGN(auto link, make_link(std::move(*fd), context));
    links.push_back(std::move(link));
  }
  return links;
}

Result<std::unique_ptr<Link>> adopt_tap(host::Fd fd) {
  const std::string context = fmt::format("network descriptor {}", fd.get());
  ifreq request{};
  if (::ioctl(fd.get(), TUNGETIFF, &request) != 0) return fail(context, "it is neither a socket nor a tap device");
  if (!(request.ifr_flags & IFF_TAP) || !(request.ifr_flags & IFF_VNET_HDR) || !(request.ifr_flags & IFF_NO_PI)) {
    return fail(context, "the tap was not opened with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR");
  }
  return make_link(std::move(fd), context);
}

}  // namespace nagaya::net
