#include "virtio/console/console.hpp"

#include <algorithm>
#include <array>

#include "bus/bytes.hpp"

namespace nagaya::virtio {
namespace {

constexpr u64 f_size = feature(0), f_multiport = feature(1);
constexpr unsigned queue_control_in = 2, queue_control_out = 3;
// Control events (5.3.6.2).
constexpr u16 device_ready = 0, device_add = 1, port_ready = 3, console_port = 4, resize_event = 5, port_open = 6,
              port_name = 7;
constexpr std::size_t most_waiting_controls = 512;

std::vector<u16> queue_sizes(std::size_t ports) { return std::vector<u16>(2 + 2 * std::max<std::size_t>(ports, 1), 64); }

}  // namespace

Console::Console(std::string name, memory::GuestMemory& memory, std::vector<ConsolePort> ports)
    : VirtioDevice(std::move(name), type::console, memory, queue_sizes(ports.size())),
      worker_("virtio-console", [this](unsigned queue) { serve(queue); }) {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    auto& port = *ports_.emplace_back(std::make_unique<Port>());
    port.console = this;
    port.index = static_cast<unsigned>(i);
    port.config = std::move(ports[i]);
  }
  for (auto& port : ports_) {
    if (port->config.backend) port->config.backend->attach(port.get());
  }
}

Console::~Console() {
  for (auto& port : ports_) {
    if (port->config.backend) port->config.backend->attach(nullptr);
  }
  stop();
}

u64 Console::device_features() const { return f_size | f_multiport; }

bool Console::multiport() const { return negotiated(f_multiport); }

void Console::read_config(u64 offset, std::span<u8> data) {
  std::array<u8, 12> image{};
  {
    std::lock_guard lock(mutex_);
    bus::store_le(std::span(image).first(2), ports_[0]->columns);
    bus::store_le(std::span(image).subspan(2, 2), ports_[0]->rows);
  }
  bus::store_le(std::span(image).subspan(4, 4), ports_.size());
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset < 12 && offset + i < 12 ? image[offset + i] : u8{0};
}

// ---- Life ----

void Console::start() {
  {
    std::lock_guard lock(mutex_);
    live_ = true;
    for (auto& port : ports_) {
      // Input that was refused meanwhile comes again.
      if (std::exchange(port->input_waits, false) && port->config.backend) port->config.backend->input_room();
    }
  }
  worker_.go();
}

void Console::stop() {
  {
    std::lock_guard lock(mutex_);
    live_ = false;
  }
  worker_.halt();
}

void Console::reset_state() {
  std::lock_guard lock(mutex_);
  controls_.clear();
  for (auto& port : ports_) {
    port->guest_open = port->ready = false;
    port->sent = 0;
  }
}

void Console::save_state(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  for (const auto& port : ports_) {
    out.put(port->guest_open);
    out.put(port->ready);
    out.put(port->sent);
  }
  out.put(static_cast<u16>(controls_.size()));
  for (const auto& message : controls_) {
    out.put(static_cast<u16>(message.size()));
    out.put_bytes(message);
  }
}

void Console::restore_state(state::Reader& in) {
  std::lock_guard lock(mutex_);
  for (auto& port : ports_) {
    in.get(port->guest_open);
    in.get(port->ready);
    in.get(port->sent);
  }
  const u16 count = in.get<u16>();
  if (count > most_waiting_controls) return in.reject("too many control messages");
  for (u16 i = 0; i < count; ++i) {
    std::vector<u8> message(std::min<u16>(in.get<u16>(), 256));
    in.get_bytes(message);
    controls_.push_back(std::move(message));
  }
}

// ---- From the guest ----

void Console::serve(unsigned index) {
  std::lock_guard lock(mutex_);
  if (!live_) return;
  if (index == queue_control_in) {
    if (multiport()) send_controls();
  } else if (index == queue_control_out) {
    if (multiport()) take_control();
  } else {
    const unsigned number = index < 2 ? 0 : index / 2 - 1;
    if (number >= ports_.size()) return;
    Port& port = *ports_[number];
    if (index % 2) {
      take_output(port);
    } else if (std::exchange(port.input_waits, false) && port.config.backend) {
      port.config.backend->input_room();
    }
  }
}

/// Hands bytes on as far as the back end takes them; a request that is not all taken goes back to the ring.
void Console::take_output(Port& port) {
  serve_all(input_queue(port.index) + 1, chain_, [&](const Chain& chain) -> std::optional<u64> {
    std::array<u8, 4096> buffer;
    while (port.sent < chain.readable_bytes) {
      const std::size_t count = chain.read(port.sent, buffer);
      if (count == 0) break;
      const std::size_t taken = port.config.backend ? port.config.backend->write(std::span(buffer).first(count)) : count;
      port.sent += taken;
      if (taken < count) return {};
    }
    port.sent = 0;
    return 0;
  });
}

void Console::take_control() {
  serve_all(queue_control_out, chain_, [&](const Chain& chain) -> std::optional<u64> {
    std::array<u8, 8> message{};
    if (chain.read(0, message) == message.size()) {
      on_control(static_cast<u32>(bus::load_le(std::span(message).first(4))),
                 static_cast<u16>(bus::load_le(std::span(message).subspan(4, 2))),
                 static_cast<u16>(bus::load_le(std::span(message).subspan(6, 2))));
    }
    return 0;
  });
}

void Console::on_control(u32 number, u16 event, u16 value) {
  if (event == device_ready) {
    if (value == 1) {
      for (const auto& port : ports_) control(port->index, device_add, 1);
    }
    return;
  }
  if (number >= ports_.size()) return;
  Port& port = *ports_[number];
  if (event == port_ready && value == 1) {
    port.ready = true;
    if (port.config.console) {
      control(number, console_port, 1);
      if (port.columns != 0) control(number, resize_event, 0);
    }
    if (!port.config.name.empty()) control(number, port_name, 1, port.config.name);
    if (port.host_open || port.config.console) control(number, port_open, 1);
  } else if (event == port_open) {
    port.guest_open = value == 1;
    if (port.guest_open && std::exchange(port.input_waits, false) && port.config.backend) port.config.backend->input_room();
  }
}

// ---- To the guest ----

/// Queues a message. A guest that never takes its messages gets no more than so many.
void Console::control(unsigned port, u16 event, u16 value, std::string_view text) {
  if (controls_.size() >= most_waiting_controls) return;
  std::vector<u8> message(8);
  bus::store_le(std::span(message).first(4), port);
  bus::store_le(std::span(message).subspan(4, 2), event);
  bus::store_le(std::span(message).subspan(6, 2), value);
  message.insert(message.end(), text.begin(), text.end());
  if (event == resize_event) {
    const Port& p = *ports_[port];
    // Columns before rows, as in the configuration space (5.3.6.2). Old Linux drivers read them the other way round.
    for (u16 n : {p.columns, p.rows}) {
      message.push_back(static_cast<u8>(n));
      message.push_back(static_cast<u8>(n >> 8));
    }
  }
  controls_.push_back(std::move(message));
  send_controls();
}

void Console::send_controls() {
  if (!live_) return;
  Queue& ring = queue(queue_control_in);
  Chain chain;
  while (!controls_.empty() && (pop(queue_control_in, chain) || (ring.enable_notifications() && pop(queue_control_in, chain)))) {
    const std::size_t written = chain.write(0, controls_.front());
    controls_.pop_front();
    ring.push(chain, written);
    interrupt(queue_control_in);
  }
}

void Console::resize(unsigned number, u16 columns, u16 rows) {
  {
    std::lock_guard lock(mutex_);
    if (number >= ports_.size()) return;
    Port& port = *ports_[number];
    port.columns = columns;
    port.rows = rows;
    if (port.ready && port.config.console && multiport()) control(number, resize_event, 0);
  }
  if (number == 0) config_changed();
}

std::size_t Console::Port::input(std::span<const u8> data) {
  std::lock_guard lock(console->mutex_);
  const unsigned index_of_queue = input_queue(index);
  // A port that nobody in the guest has opened drops nothing: its input waits.
  if (!console->live_ || (console->multiport() ? !guest_open : index != 0)) {
    input_waits = true;
    return 0;
  }
  Queue& ring = console->queue(index_of_queue);
  Chain chain;
  std::size_t done = 0;
  while (done < data.size()) {
    if (!console->pop(index_of_queue, chain) && !(ring.enable_notifications() && console->pop(index_of_queue, chain))) {
      input_waits = true;
      break;
    }
    const std::size_t count = chain.write(0, data.subspan(done));
    done += count;
    ring.push(chain, count);
    console->interrupt(index_of_queue);
  }
  return done;
}

void Console::Port::output_room() { console->worker_.kick(input_queue(index) + 1); }

void Console::Port::connected(bool present) {
  std::lock_guard lock(console->mutex_);
  if (std::exchange(host_open, present) == present || !ready || config.console || !console->multiport()) return;
  console->control(index, port_open, present);
}

}  // namespace nagaya::virtio
