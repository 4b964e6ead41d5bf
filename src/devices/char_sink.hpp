// Characters between a device of the guest (serial port, debug console) and something on the host (terminal, file,
// socket). Neither side ever blocks the other; both push back by taking less than offered.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "base/types.hpp"

namespace nagaya::devices {

/// Where a device's output goes. Thread-safe.
class CharSink {
 public:
  virtual ~CharSink() = default;
  /// Takes the first n bytes that there is room for and returns n; never blocks, never buffers without bound.
  [[nodiscard]] virtual std::size_t write(std::span<const u8> data) = 0;
};

/// The device's side as a back end sees it. Called on the back end's thread, never from inside CharSink::write.
class CharReceiver {
 public:
  virtual ~CharReceiver() = default;
  /// Takes the first n bytes of input that the device has room for. When n is short, the back end keeps the rest until
  /// CharBackend::input_room.
  [[nodiscard]] virtual std::size_t input(std::span<const u8> data) = 0;
  /// After a short CharSink::write: there is room again.
  virtual void output_room() = 0;
  /// The other end came or went (carrier).
  virtual void connected(bool present) = 0;
};

/// Both directions on the host.
class CharBackend : public CharSink {
 public:
  /// Connects the device's side; null disconnects it, and afterwards the old one is not called any more. Not to be
  /// called while holding a lock that CharReceiver's functions take.
  virtual void attach(CharReceiver* receiver) = 0;
  /// The device can take input again. Never calls back at once, so a device may hold its lock.
  virtual void input_room() = 0;
  /// Waits until all output taken so far has left, at most this long (before the process ends). No lock held.
  virtual void drain(unsigned timeout_ms) = 0;
  /// What a person needs to connect ("/dev/pts/7", a socket's path); may be empty.
  [[nodiscard]] virtual std::string where() const = 0;
};

}  // namespace nagaya::devices
