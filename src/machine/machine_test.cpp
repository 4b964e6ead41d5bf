#include "machine/machine.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "host/fd.hpp"
#include "host/timer_queue.hpp"
#include "machine/cpu_archive.hpp"
#include "machine/fake_engine_test_util.hpp"
#include "machine/ram_file.hpp"
#include "machine/saved_machine.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::machine {
namespace {

namespace pc = x86::pc;
using proto::Outcome;
using testing::FakeControl;
using testing::FakeEngine;

std::vector<x86::CpuidEntry> some_cpuid() {
  return {{0, 0, false, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69},
          {1, 0, false, 0x506e3, 0, 1u << 21 | 1u << 26, 0x078bfbff},
          {7, 0, true, 0, 0x20, 0, 0},
          {0x80000008, 0, false, 0x3028, 0, 0, 0}};
}

/// A machine whose "kernel" is a firmware image, with an engine that runs scripts.
class MachineTest : public ::testing::Test {
 protected:
  MachineTest() {
    control_.cpuid = some_cpuid();
    firmware_ = path("firmware");
    std::vector<u8> image(64 * KiB, 0x90);
    EXPECT_TRUE(host::replace_file(firmware_, image));
    config_.memory = 4 * MiB;
    config_.vcpus = 2;
    config_.firmware = firmware_;
    config_.serial = {proto::CharConfig{}};
    config_.debug_exit = config_.testdev = true;
  }
  ~MachineTest() override {
    ::unlink(firmware_.c_str());
    ::unlink(path("state").c_str());
  }
  static Result<> save(Machine& machine, const std::string& file) {
    TRY_ASSIGN(const host::Fd fd, host::Fd::open(file, O_WRONLY | O_CREAT | O_TRUNC));
    return machine.save(fd.get(), file);
  }
  static std::string path(const char* name) {
    return ::testing::TempDir() + "nagaya-machine-" + std::to_string(::getpid()) + "-" + name;
  }
  SelectedEngine engine() { return {std::make_unique<FakeEngine>(control_), "engine fake", some_cpuid()}; }
  MachineHooks hooks() {
    return {.notify = [this] {
              const std::lock_guard lock(mutex_);
              notified_ = true;
              changed_.notify_all();
            }};
  }
  std::unique_ptr<Machine> make() {
    auto made = Machine::create(config_, engine(), hooks());
    EXPECT_TRUE(made) << made.error().message();
    auto on = (*made)->power_on();
    EXPECT_TRUE(on) << on.error().message();
    return std::move(*made);
  }
  void wait_for_event() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return notified_; });
    notified_ = false;
  }
  Result<std::unique_ptr<Machine>> restore(const std::string& file) {
    TRY_ASSIGN(auto saved, open_saved_machine(file));
    TRY_ASSIGN(auto machine, Machine::create(config_for_restore(saved.config, config_), engine(), hooks(), &saved.archive));
    TRY(machine->restore(saved.archive, saved.fd.get()));
    return machine;
  }
  static void out8(engine::IoHandler& io, u16 port, u8 value) { io.port_write(port, std::span(&value, 1)); }

  FakeControl control_;
  proto::VmConfig config_;
  std::string firmware_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool notified_ = false;
};

TEST_F(MachineTest, FirmwareIsWhereTheProcessorStarts) {
  auto machine = make();
  EXPECT_EQ(machine->memory().read_value<u8>(Gpa(0xfffffff0)).value(), 0x90);
  EXPECT_EQ(machine->memory().read_value<u8>(Gpa(0xffff0)).value(), 0x90);
  EXPECT_EQ(machine->cpu_state(0)->run_state, x86::RunState::running);
  EXPECT_EQ(machine->cpu_state(1)->run_state, x86::RunState::wait_for_sipi);
  EXPECT_EQ(machine->cpu_state(1)->gpr[x86::RDX], 0x506e3u);
}

TEST_F(MachineTest, EachEndHasItsOutcome) {
  config_.no_reboot = true;
  struct Case {
    std::function<void(engine::IoHandler&)> act;
    Outcome outcome;
    int value;
  };
  const Case cases[] = {
      {[](engine::IoHandler& io) {
         const u16 sleep = 1 << 13 | pc::slp_typ_s5 << 10;
         u8 bytes[2] = {static_cast<u8>(sleep), static_cast<u8>(sleep >> 8)};
         io.port_write(pc::pm1_control_port, bytes);
       },
       Outcome::power_off, 0},
      {[](engine::IoHandler& io) { out8(io, pc::i8042_command_port, 0xfe); }, Outcome::reset, 0},
      {[](engine::IoHandler& io) { out8(io, pc::reset_port, pc::reset_value); }, Outcome::reset, 0},
      {[](engine::IoHandler& io) { out8(io, pc::debug_exit_port, 16); }, Outcome::debug_exit, 33},
  };
  for (const Case& c : cases) {
    control_.script = [&](unsigned vcpu, engine::IoHandler& io) {
      if (vcpu == 0) c.act(io);
    };
    auto machine = make();
    machine->resume();
    wait_for_event();
    const auto outcome = machine->handle_events();
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->outcome, c.outcome);
    EXPECT_EQ(outcome->value, c.value);
    EXPECT_TRUE(machine->paused());
  }
}

TEST_F(MachineTest, CrashesAndEngineFailuresAreToldApart) {
  config_.no_reboot = true;
  for (const auto& [reason, outcome] : {std::pair{engine::ExitReason::shutdown, Outcome::triple_fault},
                                        {engine::ExitReason::internal_error, Outcome::internal_error}}) {
    control_.exit = [reason = reason](unsigned vcpu) {
      return vcpu == 1 ? engine::Exit{reason, "because"} : engine::Exit{};
    };
    auto machine = make();
    machine->resume();
    wait_for_event();
    const auto told = machine->handle_events();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->outcome, outcome);
  }
}

TEST_F(MachineTest, AResetStartsItAgain) {
  std::atomic<int> starts = 0;
  control_.script = [&](unsigned vcpu, engine::IoHandler& io) {
    if (vcpu == 0 && ++starts == 1) out8(io, pc::reset_port, pc::reset_value);
  };
  auto machine = make();
  ASSERT_TRUE(machine->memory().write_value(Gpa(0x100000), u32{7}));
  machine->resume();
  wait_for_event();
  EXPECT_FALSE(machine->handle_events());
  EXPECT_FALSE(machine->paused());
  while (starts < 2) ::usleep(1000);
  EXPECT_EQ(machine->memory().read_value<u32>(Gpa(0x100000)).value(), 0u);
}

TEST_F(MachineTest, PauseAndResumeManyTimes) {
  auto machine = make();
  for (int i = 0; i < 100; ++i) {
    machine->resume();
    machine->pause();
    EXPECT_TRUE(machine->paused());
  }
  EXPECT_FALSE(machine->handle_events());
}

TEST_F(MachineTest, AnEventBeforeResumeIsNotLost) {
  control_.script = [&](unsigned vcpu, engine::IoHandler& io) {
    if (vcpu == 0) out8(io, pc::debug_exit_port, 1);
  };
  auto machine = make();
  machine->resume();
  wait_for_event();
  machine->pause();
  const unsigned runs = control_.runs;
  machine->resume();
  EXPECT_TRUE(machine->paused());
  EXPECT_EQ(control_.runs, runs);
  EXPECT_TRUE(machine->handle_events());
}

TEST_F(MachineTest, NonsenseToEveryPortDoesNoHarm) {
  config_.debug_exit = false;
  std::atomic<bool> done = false;
  control_.script = [&](unsigned vcpu, engine::IoHandler& io) {
    if (vcpu != 0 || done) return;
    std::mt19937 random(7);
    std::array<u8, 8> data{};
    for (u32 port = 0; port < 0x10000; ++port) {
      for (auto& byte : data) byte = static_cast<u8>(random());
      const std::size_t size = std::size_t{1} << random() % 3;
      io.port_write(static_cast<u16>(port), std::span(data).first(size));
      io.port_read(static_cast<u16>(port), std::span(data).first(size));
    }
    for (int i = 0; i < 20000; ++i) {
      const u64 base = std::array{u64{pc::ioapic_base}, pc::ecam_base, pc::lapic_base, u64{pc::testdev_mmio_base}}[random() % 4];
      for (auto& byte : data) byte = static_cast<u8>(random());
      io.mmio_write(Gpa(base + random() % 0x2000), std::span(data).first(1 + random() % 8));
      io.mmio_read(Gpa(base + random() % 0x2000), std::span(data).first(1 + random() % 8));
    }
    done = true;
  };
  auto machine = make();
  machine->resume();
  while (!done) {
    if (machine->handle_events()) machine = make(), machine->resume();  // it may well have switched itself off
    ::usleep(1000);
  }
  ASSERT_TRUE(save(*machine, path("state")));
}

TEST_F(MachineTest, ASavedMachineIsTheSameMachine) {
  control_.script = [&](unsigned vcpu, engine::IoHandler& io) {
    if (vcpu != 0) return;
    out8(io, pc::pit_port + 3, 0x34), out8(io, pc::pit_port, 0x12), out8(io, pc::pit_port, 0x34);
    out8(io, pc::serial0_port + 7, 0x5a);
    out8(io, pc::pic_master_port + 1, 0xfe);
  };
  auto machine = make();
  machine->resume();
  while (control_.runs < 2) ::usleep(1000);
  machine->pause();
  ASSERT_TRUE(machine->memory().write_value(Gpa(0x3ff000), u64{0x1122334455667788}));
  control_.script = [](unsigned, engine::IoHandler&) {};

  // Nothing runs in between: the file is the same to the byte. The real-time clock alone goes on, with the host's wall
  // clock, so pause and both files must be of one second.
  for (bool one_second = false; !one_second;) {
    machine->resume();
    const u64 second = host::wall_clock_ns() / 1'000'000'000;
    machine->pause();
    ASSERT_TRUE(save(*machine, path("state")));
    const auto first = host::read_file(path("state"), GiB).value();
    auto again = restore(path("state"));
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ((*again)->memory().read_value<u64>(Gpa(0x3ff000)).value(), 0x1122334455667788u);
    ASSERT_TRUE(save(**again, path("state")));
    one_second = host::wall_clock_ns() / 1'000'000'000 == second;
    if (one_second) {
      EXPECT_TRUE(host::read_file(path("state"), GiB).value() == first);
    }
  }
}

TEST_F(MachineTest, SavingElsewhereFailsAndTheMachineGoesOn) {
  auto machine = make();
  machine->resume();
  const host::Fd full = host::Fd::open("/dev/full", O_WRONLY).value();
  const auto done = machine->save(full.get(), "a full disk");
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message().find("'a full disk'"), std::string::npos);
  EXPECT_FALSE(machine->paused());
}

TEST_F(MachineTest, DamagedFilesAreRefused) {
  auto machine = make();
  ASSERT_TRUE(machine->memory().fill(Gpa(0x200000), 3 * page_size, 0xab));
  ASSERT_TRUE(save(*machine, path("state")));
  const auto good = host::read_file(path("state"), GiB).value();
  const auto refused = [&](const std::vector<u8>& bytes) {
    ASSERT_TRUE(host::replace_file(path("state"), bytes));
    EXPECT_FALSE(restore(path("state")));
  };
  for (std::size_t size = 0; size < good.size(); size += 1 + good.size() / 60) {
    refused({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)});
  }
  std::mt19937 random(3);
  for (int i = 0; i < 60; ++i) {
    auto bad = good;
    bad[random() % bad.size()] ^= static_cast<u8>(1 + random() % 255);
    refused(bad);
  }
  auto longer = good;
  longer.push_back(0);
  refused(longer);
}

TEST_F(MachineTest, AProcessorThatHadMoreIsRefused) {
  auto machine = make();
  ASSERT_TRUE(save(*machine, path("state")));
  auto saved = open_saved_machine(path("state")).value();
  auto less = engine();
  for (auto& e : less.cpuid) {
    if (e.function == 7) e.ebx = 0;
  }
  auto made = Machine::create(config_for_restore(saved.config, config_), std::move(less), hooks(), &saved.archive);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("0x7.0 EBX"), std::string::npos) << made.error().message();
}

TEST_F(MachineTest, FailuresOfTheEngineLeaveNothingBehind) {
  control_.fail_create = true;
  EXPECT_FALSE(Machine::create(config_, engine(), hooks()));
  control_.fail_create = false;
  config_.vcpus = 9;
  auto many = Machine::create(config_, engine(), hooks());
  ASSERT_FALSE(many);
  EXPECT_NE(many.error().message().find("offers 8"), std::string::npos);
  config_.vcpus = 1;
  config_.firmware = "/nonexistent";
  EXPECT_FALSE(Machine::create(config_, engine(), hooks()));
}

TEST(RamFile, PersistentMemoryIsNoPartOfIt) {
  auto memory = memory::GuestMemory::create(MiB).value();
  auto file = host::Fd::memfd("file", 2 * MiB).value();
  ASSERT_TRUE(memory->add_file(Gpa(8 * GiB), file.get(), 2 * MiB, 2 * MiB, true));
  ASSERT_TRUE(memory->fill(Gpa(8 * GiB), 2 * MiB, 0x77));
  auto fd = host::Fd::memfd("ram", 0).value();
  ASSERT_TRUE(write_ram(fd.get(), *memory));
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_END), 16);
  // And no record writes there.
  auto other = memory::GuestMemory::create(10 * GiB).value();
  ASSERT_TRUE(other->fill(Gpa(8 * GiB), page_size, 0x55));
  auto hostile = host::Fd::memfd("ram", 0).value();
  ASSERT_TRUE(write_ram(hostile.get(), *other));
  ASSERT_EQ(::lseek(hostile.get(), 0, SEEK_SET), 0);
  EXPECT_FALSE(read_ram(hostile.get(), *memory));
  EXPECT_EQ(memory->read_value<u8>(Gpa(8 * GiB)).value(), 0x77);
}

TEST(ConfigForRestore, SharesAreFoundByTag) {
  proto::VmConfig saved, asked;
  saved.shares = {{"a", "/old/a", false}, {"b", "/old/b", false}};
  saved.pmems = {{"/old/p", false}};
  asked.shares = {{"b", "/new/b", true}, {"c", "/new/c", false}};
  const proto::VmConfig config = config_for_restore(saved, asked);
  EXPECT_EQ(config.shares, (std::vector<proto::ShareConfig>{{"a", "/old/a", false}, {"b", "/new/b", true}}));
  EXPECT_EQ(config.pmems, saved.pmems);
  asked.pmems = {{"/new/p", false}};
  EXPECT_EQ(config_for_restore(saved, asked).pmems, asked.pmems);
}

TEST(RamFile, HostileRecords) {
  auto memory = memory::GuestMemory::create(MiB).value();
  ASSERT_TRUE(memory->fill(Gpa(0x8000), 2 * page_size, 1));
  auto fd = host::Fd::memfd("ram", 0).value();
  ASSERT_TRUE(write_ram(fd.get(), *memory));
  const auto size = static_cast<std::size_t>(::lseek(fd.get(), 0, SEEK_END));
  EXPECT_EQ(size, 16 + 2 * page_size + 16);
  const auto reads = [&](memory::GuestMemory& into) {
    ::lseek(fd.get(), 0, SEEK_SET);
    return read_ram(fd.get(), into).has_value();
  };
  EXPECT_TRUE(reads(*memory));
  auto small = memory::GuestMemory::create(0x9000).value();
  EXPECT_FALSE(reads(*small));
  for (std::size_t at = 0; at < 16; ++at) {
    u8 byte = 0;
    ASSERT_EQ(::pread(fd.get(), &byte, 1, static_cast<off_t>(at)), 1);
    const u8 other = byte ^ 0x40;
    ASSERT_EQ(::pwrite(fd.get(), &other, 1, static_cast<off_t>(at)), 1);
    EXPECT_FALSE(reads(*memory)) << at;
    ASSERT_EQ(::pwrite(fd.get(), &byte, 1, static_cast<off_t>(at)), 1);
  }
  EXPECT_TRUE(reads(*memory));
}

TEST(CpuArchive, KeepsEveryField) {
  x86::CpuState state = x86::reset_state(true);
  std::mt19937_64 random(5);
  for (auto& r : state.gpr) r = random();
  for (auto& b : state.xsave) b = static_cast<u8>(random());
  for (auto& r : state.msr.mtrr_var) r = random();
  state.msr.kvm_poll_control = 0, state.cr8 = 9, state.xcr0 = 0xe7;
  state.events = {true, 14, true, 2, true, false, true, true};
  state.run_state = x86::RunState::halted;
  state.seg[x86::FS].base = random();
  state.tr.unusable = true;
  state::Writer out;
  put(out, state);
  state::Reader in("cpu0", 1, out.bytes());
  const auto back = get_cpu(in);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->gpr, state.gpr);
  EXPECT_EQ(back->seg, state.seg);
  EXPECT_EQ(back->tr, state.tr);
  EXPECT_EQ(back->msr, state.msr);
  EXPECT_EQ(back->events, state.events);
  EXPECT_EQ(back->run_state, state.run_state);
  EXPECT_EQ(std::memcmp(back->xsave.data(), state.xsave.data(), x86::xsave_size), 0);
  state::Writer second;
  put(second, *back);
  EXPECT_EQ(second.bytes(), out.bytes());
  auto bad = out.bytes();
  bad.pop_back();
  state::Reader shorter("cpu0", 1, bad);
  EXPECT_FALSE(get_cpu(shorter));
}

}  // namespace
}  // namespace nagaya::machine
