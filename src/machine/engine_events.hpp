// The engine's eventfds as the bus knows them.
#pragma once
#include "bus/event_paths.hpp"
#include "engine/engine.hpp"

namespace nagaya::machine {

class EngineEvents final : public bus::EventPaths {
 public:
  explicit EngineEvents(engine::Engine& engine) : engine_(engine) {}
  Result<> add_notification(u64 address, int eventfd) override {
    return engine_.add_io_event({.address = address, .eventfd = eventfd});
  }
  void remove_notification(u64 address, int eventfd) override {
    (void)engine_.remove_io_event({.address = address, .eventfd = eventfd});
  }
  Result<> set_message(int eventfd, u64 address, u32 data) override { return engine_.set_msi_irqfd(eventfd, address, data); }
  void remove_message(int eventfd) override { engine_.remove_msi_irqfd(eventfd); }

 private:
  engine::Engine& engine_;
};

}  // namespace nagaya::machine
