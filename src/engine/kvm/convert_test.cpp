#include "engine/kvm/convert.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "engine/kvm/abi.hpp"
#include "engine/kvm/convert_irqchip.hpp"
#include "engine/kvm/cpuid.hpp"
#include "engine/kvm/msr_table.hpp"

namespace nagaya::engine::kvm {
namespace {

x86::Segment segment(std::mt19937_64& random) {
  x86::Segment s;
  s.base = random();
  s.limit = static_cast<u32>(random());
  s.selector = static_cast<u16>(random());
  s.attr = static_cast<u16>(random() & 0xf0ff);  // bits 11:8 are limit bits in a descriptor
  s.unusable = random() & 1;
  return s;
}

TEST(KvmConvert, RegistersAndSegmentsSurviveTheRoundTrip) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    x86::CpuState in, out;
    for (u64& reg : in.gpr) reg = random();
    in.rip = random();
    in.rflags = random() | 2;
    for (x86::Segment& s : in.seg) s = segment(random);
    in.ldtr = segment(random);
    in.tr = segment(random);
    in.gdtr = {random(), static_cast<u16>(random())};
    in.idtr = {random(), static_cast<u16>(random())};
    in.cr0 = random(), in.cr2 = random(), in.cr3 = random(), in.cr4 = random(), in.cr8 = random() & 15;
    in.msr.efer = random();
    in.apic_base = random();
    for (u64& d : in.dr) d = random();
    in.dr6 = random(), in.dr7 = random();
    kvm_regs regs;
    kvm_sregs sregs;
    kvm_debugregs debug;
    to_kvm(in, regs), from_kvm(regs, out);
    to_kvm(in, sregs), from_kvm(sregs, out);
    to_kvm(in, debug), from_kvm(debug, out);
    EXPECT_EQ(in.gpr, out.gpr);
    EXPECT_EQ(in.rip, out.rip);
    EXPECT_EQ(in.rflags, out.rflags);
    EXPECT_EQ(in.seg, out.seg);
    EXPECT_EQ(in.ldtr, out.ldtr);
    EXPECT_EQ(in.tr, out.tr);
    EXPECT_EQ(in.gdtr, out.gdtr);
    EXPECT_EQ(in.idtr, out.idtr);
    EXPECT_EQ(in.cr0, out.cr0);
    EXPECT_EQ(in.cr8, out.cr8);
    EXPECT_EQ(in.msr.efer, out.msr.efer);
    EXPECT_EQ(in.apic_base, out.apic_base);
    EXPECT_EQ(in.dr, out.dr);
    EXPECT_EQ(in.dr7, out.dr7);
  }
}

TEST(KvmConvert, RegisterNamesAreNotMixedUp) {
  x86::CpuState in;
  for (u64 i = 0; i < 16; ++i) in.gpr[i] = 100 + i;
  kvm_regs regs;
  to_kvm(in, regs);
  EXPECT_EQ(regs.rax, 100u);
  EXPECT_EQ(regs.rcx, 101u);
  EXPECT_EQ(regs.rdx, 102u);
  EXPECT_EQ(regs.rbx, 103u);
  EXPECT_EQ(regs.rsp, 104u);
  EXPECT_EQ(regs.rdi, 107u);
  EXPECT_EQ(regs.r15, 115u);
}

TEST(KvmConvert, PendingEvents) {
  x86::CpuState in, out;
  in.events = {.exception_pending = true,
               .vector = 14,
               .has_error_code = true,
               .error_code = 6,
               .interrupt_shadow = true,
               .mov_ss_shadow = false,
               .nmi_pending = true,
               .nmi_blocked = true};
  kvm_vcpu_events events;
  ASSERT_TRUE(to_kvm(in, events));
  from_kvm(events, out);
  EXPECT_EQ(in.events, out.events);
  in.events.vector = 2;
  EXPECT_FALSE(to_kvm(in, events));
  in.events.vector = 77;
  EXPECT_FALSE(to_kvm(in, events));
}

TEST(KvmConvert, NmiWhoseDeliveryWasBrokenOffIsPendingAgain) {
  kvm_vcpu_events events{};
  events.nmi.injected = 1;
  events.nmi.masked = 1;
  x86::CpuState out;
  from_kvm(events, out);
  EXPECT_TRUE(out.events.nmi_pending);
  EXPECT_FALSE(out.events.nmi_blocked);
}

TEST(KvmConvert, EmptyXsaveImageMeansInitialState) {
  x86::CpuState state;
  XsaveArea image;
  xsave_to_kvm(state, 7, image);
  u16 control_word;
  u32 mxcsr;
  std::memcpy(&control_word, image.data(), 2);
  std::memcpy(&mxcsr, image.data() + 24, 4);
  EXPECT_EQ(control_word, 0x37f);
  EXPECT_EQ(mxcsr, 0x1f80u);
  EXPECT_EQ(image[512], 3);
}

TEST(KvmConvert, XsaveKeepsWhatThereIsAndDropsWhatIsNotOffered) {
  x86::CpuState state, back;
  for (std::size_t i = 0; i < 2696; ++i) state.xsave[i] = static_cast<u8>(i * 7);
  std::memset(state.xsave.data() + 464, 0, 112);
  state.xsave[512] = 0xe7;
  EXPECT_EQ(xsave_in_use(state), 0xe4u);
  XsaveArea image;
  xsave_to_kvm(state, 0xe7, image);
  xsave_from_kvm(image, 0xe7, back);
  EXPECT_EQ(state.xsave, back.xsave);
  xsave_to_kvm(state, 7, image);
  EXPECT_EQ(image[512], 7);
}

TEST(KvmConvert, RunStates) {
  using enum x86::RunState;
  for (const auto s : {running, halted, wait_for_sipi}) EXPECT_EQ(from_kvm(to_kvm(s)), s);
  EXPECT_EQ(from_kvm(kvm_mp_state{KVM_MP_STATE_UNINITIALIZED}), wait_for_sipi);
}

TEST(KvmConvert, InterruptControllers) {
  x86::PicState pic{.last_irr = 1,
                    .irr = 2,
                    .imr = 3,
                    .isr = 4,
                    .priority_add = 5,
                    .irq_base = 0x20,
                    .read_reg_select = 1,
                    .poll = 1,
                    .special_mask = 1,
                    .init_state = 2,
                    .auto_eoi = 1,
                    .rotate_on_auto_eoi = 1,
                    .special_fully_nested = 1,
                    .init4 = 1,
                    .elcr = 0xc,
                    .elcr_mask = 0xf8};
  EXPECT_EQ(from_kvm(to_kvm(pic)), pic);
  x86::IoapicState ioapic{.id = 0x01000000, .ioregsel = 0x10, .irr = 5};
  for (u64 i = 0; i < 24; ++i) ioapic.redirtbl[i] = 0x0100000000000000 | 0x10030 | i;
  EXPECT_EQ(from_kvm(to_kvm(ioapic)), ioapic);
}

TEST(KvmConvert, PitKeepsThePhaseOfChannelsTwoAndOne) {
  x86::PitState pit;
  pit.channel[2] = {.count = 0x1234,
                    .latched_count = 7,
                    .count_latched = 2,
                    .status_latched = 1,
                    .status = 0x42,
                    .read_state = 1,
                    .write_state = 2,
                    .write_latch = 9,
                    .rw_mode = 3,
                    .mode = 2,
                    .bcd = 0,
                    .gate = 1,
                    .elapsed_ns = 5000};
  pit.speaker_data_on = true;
  x86::PitState back = from_kvm(to_kvm(pit, 1'000'000), 1'000'500);
  EXPECT_EQ(back.channel[2].elapsed_ns, 5500u);
  back.channel[2].elapsed_ns = 5000;
  EXPECT_EQ(back.channel[2], pit.channel[2]);
  EXPECT_TRUE(back.speaker_data_on);
}

TEST(KvmConvert, LapicTimerGoesOnFromWhereItWas) {
  x86::LapicState apic;
  auto put = [&](std::size_t at, u32 value) { std::memcpy(apic.regs.data() + at, &value, 4); };
  put(0x380, 1000);  // initial count
  put(0x3e0, 0x3);   // divide by 16
  apic.timer_remaining_ns = 320;
  const kvm_lapic_state kernel = to_kvm(apic);
  u32 current;
  std::memcpy(&current, kernel.regs + 0x390, 4);
  EXPECT_EQ(current, 20u);
  EXPECT_EQ(from_kvm(kernel).timer_remaining_ns, 320u);
  put(0x3e0, 0xb);  // divide by 1
  EXPECT_EQ(from_kvm(to_kvm(apic)).timer_remaining_ns, 320u);
  apic.timer_remaining_ns = ~u64{0} >> 1;  // nonsense is bounded by the initial count
  EXPECT_EQ(from_kvm(to_kvm(apic)).timer_remaining_ns, 1000u);
}

TEST(KvmMsrs, EveryFieldIsThereOnceButEfer) {
  x86::Msrs msrs{};
  u64 value = 1;
  for (const MsrEntry& entry : msr_table()) set_msr_value(msrs, entry, value++);
  value = 1;
  for (const MsrEntry& entry : msr_table()) EXPECT_EQ(msr_value(msrs, entry), value++) << entry.name;
  EXPECT_EQ(msr_table().size(), sizeof(x86::Msrs) / 8 - 1);
  EXPECT_LE(msr_table().size(), 64u);  // refused ones are kept as a 64-bit mask
}

TEST(KvmCpuid, WhatTheStateCannotCarryIsNotOffered) {
  std::vector<x86::CpuidEntry> table = {
      {1, 0, false, 0, 0, 0xffffffff, 0xffffffff},
      {7, 0, true, 1, 0xffffffff, 0xffffffff, 0xffffffff},
      {0xd, 0, true, 0x602e7, 0x2b00, 0x2b00, 0},
      {0xd, 1, true, 0x1f, 0, 0x1800, 0},
      {0xd, 2, true, 256, 576, 0, 0},
      {0xd, 9, true, 8, 2688, 0, 0},
      {0xd, 18, true, 8192, 2816, 6, 0},
      {0x80000001, 0, false, 0, 0, 0xffffffff, 0xffffffff},
      {0x40000001, 0, false, 0xffffffff, 0, 0, 0},
  };
  apply_limits(table, {.arch_capabilities = false, .hypercalls = false});
  EXPECT_FALSE(x86::find_cpuid(table, 1)->ecx >> 5 & 1);           // VMX
  EXPECT_FALSE(x86::find_cpuid(table, 7)->edx >> 24 & 1);          // AMX
  EXPECT_FALSE(x86::find_cpuid(table, 7)->edx >> 29 & 1);          // ARCH_CAPABILITIES
  EXPECT_TRUE(x86::find_cpuid(table, 7)->ebx >> 5 & 1);            // AVX2 stays
  EXPECT_FALSE(x86::find_cpuid(table, 0x80000001)->ecx >> 2 & 1);  // SVM
  EXPECT_EQ(x86::find_cpuid(table, 0xd, 18), nullptr);
  EXPECT_EQ(xcr0_of(table), 0x207u);  // x87 SSE AVX PKRU: the components whose places are told
  EXPECT_EQ(x86::find_cpuid(table, 0xd, 0)->ecx, 2696u);
  EXPECT_FALSE(x86::find_cpuid(table, 0x40000001)->eax & x86::kvm_pv_send_ipi);
  EXPECT_TRUE(x86::find_cpuid(table, 0x40000001)->eax & x86::kvm_clocksource2);
}

}  // namespace
}  // namespace nagaya::engine::kvm
