// Console device with several ports, each an end of a character back end. Source: VIRTIO 1.2, 5.3.
//
// Port p has a queue to the guest and one from it (ports 0 and 1 around the two control queues). A driver without
// multiport sees port 0 only.
#pragma once
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "devices/char_sink.hpp"
#include "virtio/device.hpp"
#include "virtio/worker.hpp"

namespace nagaya::virtio {

struct ConsolePort {
  std::string name{};         ///< shown as /dev/virtio-ports/NAME; empty: none
  bool console = false;       ///< a terminal (hvcN), else a plain port
  devices::CharBackend* backend = nullptr;  ///< null: nothing connected; outlives the device
};

class Console final : public VirtioDevice {
 public:
  /// 1 to 16 ports.
  Console(std::string name, memory::GuestMemory& memory, std::vector<ConsolePort> ports);
  ~Console() override;

  /// The size of a port's terminal changed; the guest is told.
  void resize(unsigned port, u16 columns, u16 rows);

 private:
  /// One port's ends; called by its back end.
  struct Port final : devices::CharReceiver {
    std::size_t input(std::span<const u8> data) override;
    void output_room() override;
    void connected(bool present) override;

    Console* console = nullptr;
    unsigned index = 0;
    ConsolePort config;
    // Guarded by Console::mutex_.
    bool guest_open = false, host_open = false, input_waits = false;
    bool ready = false;  ///< the guest knows the port
    u16 columns = 0, rows = 0;
    u64 sent = 0;  ///< bytes of the request at the ring's head that the back end took already
  };

  [[nodiscard]] u64 device_features() const override;
  void read_config(u64 offset, std::span<u8> data) override;
  void start() override;
  void stop() override;
  void kicked(unsigned queue) override { worker_.kick(queue); }
  void reset_state() override;
  void save_state(state::Writer& out) const override;
  void restore_state(state::Reader& in) override;

  void serve(unsigned queue);
  void take_control();
  void on_control(u32 port, u16 event, u16 value);
  void send_controls();
  void control(unsigned port, u16 event, u16 value, std::string_view text = {});
  void take_output(Port& port);
  [[nodiscard]] bool multiport() const;
  [[nodiscard]] static unsigned input_queue(unsigned port) { return port == 0 ? 0 : 2 + 2 * port; }

  mutable std::mutex mutex_;  // guards ports, controls_, and ring work
  std::vector<std::unique_ptr<Port>> ports_;
  std::deque<std::vector<u8>> controls_;  // messages that wait for room
  bool live_ = false;
  Chain chain_;
  Worker worker_;
};

}  // namespace nagaya::virtio
