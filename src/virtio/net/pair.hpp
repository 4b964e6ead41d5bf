// One queue pair with its link and its thread.
#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "host/fd.hpp"
#include "net/link.hpp"
#include "virtio/net/receiver.hpp"
#include "virtio/net/sender.hpp"

namespace nagaya::virtio {

class NetPair {
 public:
  /// Queues 2·index (to the guest) and 2·index + 1. `wake`: an eventfd. Begins halted.
  NetPair(Net& net, unsigned index, std::unique_ptr<net::Link> link, host::Fd wake);
  ~NetPair();
  NetPair(const NetPair&) = delete;
  NetPair& operator=(const NetPair&) = delete;

  /// Something changed: rings, settings. Any thread.
  void kick();
  /// A signal on it kicks, too.
  [[nodiscard]] int wake_fd() const { return wake_.get(); }
  void go();
  /// Returns when neither queues nor guest memory are touched any more and nothing is in flight.
  void halt();
  /// The other side has to be told anew what the driver can receive.
  void offloads_changed();

  [[nodiscard]] net::Link& link() { return *link_; }
  [[nodiscard]] const NetReceiver& receiver() const { return receiver_; }
  [[nodiscard]] const NetSender& sender() const { return sender_; }

 private:
  void run();
  void work();
  void sleep(short events, u64 until);

  Net& net_;
  const std::unique_ptr<net::Link> link_;
  const host::Fd wake_;
  NetReceiver receiver_;
  NetSender sender_;
  std::atomic<bool> offloads_due_ = false;
  bool lost_ = false;  // told already
  std::mutex mutex_;
  std::condition_variable changed_, idle_;
  std::atomic<bool> going_ = false;  // written under mutex_
  bool busy_ = false, end_ = false;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace nagaya::virtio
