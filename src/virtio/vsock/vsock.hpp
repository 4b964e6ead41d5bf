// Socket device: stream and seqpacket sockets of the guest, whose other ends are UNIX sockets on the host. Source:
// VIRTIO 1.2, 5.10.
//
// A client on the host connects to the device's socket, writes "CONNECT <port>\n" and gets "OK <n>\n" when somebody in the
// guest listens there, else the connection ends. A guest's connection to port P of CID 2 arrives at "<path>_P".
//
// All work is done on one thread, which waits for sockets and for the guest's notifications, and holds `mutex_` meanwhile.
#pragma once
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "host/event_loop.hpp"
#include "virtio/device.hpp"
#include "virtio/vsock/connection.hpp"

namespace nagaya::virtio {

struct VsockOptions {
  u64 cid = 3;
  std::string path{};  ///< of our socket; empty: the host's side cannot connect, and guests find nobody
  u64 patience_ns = 10'000'000'000;  ///< for a client's first line, an answer of the guest, the end of a closed connection
};

class Vsock final : public VirtioDevice {
 public:
  static constexpr std::size_t most_connections = 512;
  static Result<std::unique_ptr<Vsock>> create(std::string name, memory::GuestMemory& memory, VsockOptions options);
  ~Vsock() override;
  [[nodiscard]] std::size_t connections() const;
  /// Guests' connections arrive at "<path>_P" from now on, where the socket's folder has moved to.
  void connect_below(const std::string& path);

 private:
  using Connection = vsock::Connection;
  using Header = vsock::Header;
  enum class Step : u8 { sent, idle, starved };

  Vsock(std::string name, memory::GuestMemory& memory, VsockOptions options);
  Result<> open();
  [[nodiscard]] u64 device_features() const override { return vsock::f_stream | vsock::f_seqpacket; }
  void read_config(u64 offset, std::span<u8> data) override;
  void start() override;
  void stop() override;
  void kicked(unsigned queue) override;
  [[nodiscard]] int kick_event(unsigned) const override { return kick_.get(); }
  void reset_state() override;
  void restore_state(state::Reader& in) override;

  // All below on the loop's thread with mutex_ held, or as start, stop and reset do.
  void on_kicks();
  void tell_of_reset();
  // vsock_guest.cpp: packets from the guest, and to it.
  std::optional<u64> take_packet(const Chain& chain);
  void on_packet(const Header& header, const Chain& chain);
  void on_request(const Header& header);
  void on_response(Connection& connection, const Header& header);
  void on_data(Connection& connection, const Header& header, const Chain& chain);
  void on_shutdown(Connection& connection, u32 flags);
  void on_reset(Connection& connection);
  void refuse(const Header& header);
  void pump();
  bool receive_buffer(Chain& chain);
  bool send(const Header& header);
  Step advance(Connection& connection);
  Step send_data(Connection& connection);
  Step send_message(Connection& connection);
  void sent_data(Connection& connection, const Chain& chain, u32 length, u32 flags);
  [[nodiscard]] Header header_for(Connection& connection, vsock::Op op);
  // vsock_host.cpp: sockets of the host.
  void on_listener();
  void on_socket(u64 id, u32 events);
  bool adopt(std::unique_ptr<Connection> connection);
  void read_greeting(Connection& connection);
  void flush(Connection& connection);
  void forwarded(Connection& connection, std::size_t bytes);
  void input_ended(Connection& connection);
  void output_ended(Connection& connection);
  void finish_if_done(Connection& connection);
  void want(Connection& connection);
  void watch(Connection& connection);
  void drop(Connection& connection, bool tell_guest);
  void on_tick();
  void arm_timer();
  [[nodiscard]] Connection* find(u64 id);
  [[nodiscard]] Connection* find(const vsock::Key& key);

  const VsockOptions options_;
  std::unique_ptr<host::EventLoop> loop_;
  host::Fd listener_, timer_, kick_;
  std::atomic<u64> kicked_ = 0;

  mutable std::mutex mutex_;  // guards all below, and ring work
  bool live_ = false, listener_watched_ = true, timer_armed_ = false, reset_untold_ = false, sending_stalled_ = false;
  bool pump_posted_ = false;
  u64 next_id_ = 1;
  std::string peers_;  // guarded by mutex_; the path below which guests find sockets of the host
  u32 next_port_;
  std::unordered_map<u64, std::unique_ptr<Connection>> connections_;
  std::map<vsock::Key, u64> by_key_;
  std::deque<u64> line_;        // connections that have something for the guest
  std::deque<Header> replies_;  // resets, which belong to no connection any more
  Chain chain_, out_chain_;
  std::vector<iovec> iov_;
  std::jthread thread_;
};

}  // namespace nagaya::virtio
