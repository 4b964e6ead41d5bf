// Interrupt controllers inside the engine, dressed as devices: sections of saved state have the names, versions and
// contents of the models in chipset, so that either can read the other's.
#include <fmt/format.h>

#include "chipset/irqchip_archive.hpp"
#include "chipset/pit.hpp"
#include "machine/interrupts.hpp"

namespace nagaya::machine {
namespace {

/// Keeps the first error of operations that have no way to return one.
class FirstError {
 public:
  void note(Result<> result) {
    if (first_ && !result) first_ = std::move(result);
  }
  [[nodiscard]] Result<> take() { return std::exchange(first_, Result<>{}); }

 private:
  Result<> first_;
};

/// One controller whose state the engine gives and takes as a whole. `T`: its state struct.
template <class T>
class EngineDevice : public bus::Device {
 public:
  struct Access {
    std::function<Result<T>()> get;
    std::function<Result<>(const T&)> set;
    std::function<void(state::Writer&, const T&)> write;
    std::function<Result<T>(state::Reader&)> read;
  };
  EngineDevice(std::string name, Access access, FirstError& errors)
      : name_(std::move(name)), access_(std::move(access)), errors_(errors) {}

  /// Remembers the state now as that of power-on.
  Result<> capture_power_on() {
    TRY_ASSIGN(power_on_, access_.get());
    return {};
  }
  std::string_view name() const override { return name_; }
  u32 state_version() const override { return 1; }
  void reset() override { errors_.note(access_.set(power_on_)); }
  void pause() override {}
  void resume() override {}
  void save(state::Writer& out) const override {
    auto state = access_.get();
    if (state) return access_.write(out, *state);
    errors_.note(std::unexpected(std::move(state.error()).within("cannot save " + name_)));
  }
  Result<> restore(state::Reader& in) override {
    auto state = access_.read(in);
    if (!state) {
      reset();
      return std::unexpected(std::move(state.error()));
    }
    return access_.set(*state);
  }

 private:
  const std::string name_;
  const Access access_;
  FirstError& errors_;
  T power_on_{};
};

using Pics = std::array<x86::PicState, 2>;

/// The APIC base is in the section of the CPU, too; there it is what counts for this engine.
struct LapicAndBase {
  x86::LapicState lapic;
  u64 base = 0;
};

EngineDevice<LapicAndBase>::Access lapic_access(VcpuThread& thread) {
  return {
      .get = [&thread]() -> Result<LapicAndBase> {
        Result<LapicAndBase> out;
        thread.call([&] {
          auto cpu = thread.vcpu()->state();
          auto lapic = thread.vcpu()->lapic_state();
          if (!cpu) {
            out = std::unexpected(cpu.error());
          } else if (!lapic) {
            out = std::unexpected(lapic.error());
          } else {
            out = LapicAndBase{*lapic, cpu->apic_base};
          }
        });
        return out;
      },
      .set = [&thread](const LapicAndBase& state) -> Result<> {
        Result<> out;
        thread.call([&] { out = thread.vcpu()->set_lapic_state(state.lapic); });
        return out;
      },
      .write = [](state::Writer& out, const LapicAndBase& s) { chipset::put(out, s.lapic, s.base); },
      .read = [](state::Reader& in) -> Result<LapicAndBase> {
        LapicAndBase out;
        out.lapic = chipset::get_lapic(in, out.base);
        TRY(in.finish());
        return out;
      },
  };
}

class EngineChips final : public InterruptChips, bus::IrqSink {
 public:
  explicit EngineChips(engine::IrqChip& chip)
      : chip_(chip),
        pic_("pic",
             {.get = [&chip] { return chip.pic_state(); },
              .set = [&chip](const Pics& s) { return chip.set_pic_state(s); },
              .write = [](state::Writer& out, const Pics& s) { chipset::put(out, s); },
              .read = [](state::Reader& in) -> Result<Pics> {
                const Pics s = chipset::get_pic(in);
                TRY(in.finish());
                return s;
              }},
             errors_),
        ioapic_("ioapic",
                {.get = [&chip] { return chip.ioapic_state(); },
                 .set = [&chip](const x86::IoapicState& s) { return chip.set_ioapic_state(s); },
                 .write = [](state::Writer& out, const x86::IoapicState& s) { chipset::put(out, s); },
                 .read = [](state::Reader& in) -> Result<x86::IoapicState> {
                   const x86::IoapicState s = chipset::get_ioapic(in);
                   TRY(in.finish());
                   return s;
                 }},
                errors_),
        pit_("pit",
             {.get = [&chip] { return chip.pit_state(); },
              .set = [&chip](const x86::PitState& s) { return chip.set_pit_state(s); },
              .write = chipset::save_pit,
              .read = chipset::restore_pit},
             errors_) {}

  bus::IrqSink& sink() override { return *this; }
  engine::LocalApic* local_apic(unsigned) override { return nullptr; }
  Result<> attach(bus::AddressMap&, bus::AddressMap&) override { return {}; }  // the engine answers itself

  Result<> connect(VcpuThreads vcpus) override {
    TRY(pic_.capture_power_on());
    TRY(ioapic_.capture_power_on());
    TRY(pit_.capture_power_on());
    for (const auto& thread : vcpus) {
      lapics_.push_back(std::make_unique<EngineDevice<LapicAndBase>>(fmt::format("lapic{}", thread->id()),
                                                                     lapic_access(*thread), errors_));
      TRY(lapics_.back()->capture_power_on());
    }
    return {};
  }

  std::vector<bus::Device*> devices() override {
    std::vector<bus::Device*> out;
    for (auto& lapic : lapics_) out.push_back(lapic.get());
    out.insert(out.end(), {&pic_, &ioapic_, &pit_});
    return out;
  }
  Result<> check() override { return errors_.take(); }

  void set_line(unsigned gsi, bool level) override { chip_.set_line(gsi, level); }
  void send_msi(u64 address, u32 data) override { chip_.send_msi(address, data); }

 private:
  engine::IrqChip& chip_;
  FirstError errors_;
  EngineDevice<Pics> pic_;
  EngineDevice<x86::IoapicState> ioapic_;
  EngineDevice<x86::PitState> pit_;
  std::vector<std::unique_ptr<EngineDevice<LapicAndBase>>> lapics_;
};

}  // namespace

std::unique_ptr<InterruptChips> make_engine_chips(engine::IrqChip& chip) { return std::make_unique<EngineChips>(chip); }

}  // namespace nagaya::machine
