// Every guest of guests/ on every engine of this host: run through, run with kicks at random moments, and stopped,
// saved and brought back to life again and again, in a new machine of the same engine and of the other one.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "cases.hpp"

namespace nagaya::conformance {
namespace {

using std::chrono::microseconds;

struct Try {
  std::string engine;
  const Case* which;
};
std::string name_of_try(const testing::TestParamInfo<Try>& info) {
  return info.param.engine + "_" + info.param.which->name;
}
void PrintTo(const Try& t, std::ostream* out) { *out << t.engine << " " << t.which->name; }

std::vector<Try> all_tries() {
  std::vector<Try> tries;
  for (const std::string& engine : engines()) {
    for (const Case& which : cases()) tries.push_back({engine, &which});
  }
  return tries;
}

// Fails the test, or skips it where the failure is known; a known failure that works is told, since other hosts of its
// class may differ.
void judge(const std::string& engine, const std::string& test, const std::string& wrong) {
  const std::string known = known_failure(class_of(engine), test);
  if (known.empty()) {
    EXPECT_EQ(wrong, "");
  } else if (wrong.empty()) {
    printf("works although listed as a failure of %s: %s\n", class_of(engine).c_str(), known.c_str());
  } else {
    GTEST_SKIP() << "known failure: " << known << "\n" << wrong;
  }
}

class Conformance : public testing::TestWithParam<Try> {
 protected:
  const Case& which() const { return *GetParam().which; }
  std::string test(const char* way) const { return std::string(way) + "/" + which().name; }

  // Makes a machine with the guest loaded; null (and the test is over) when the engine lacks what the guest needs.
  std::unique_ptr<Guest> boot(const std::string& engine) {
    auto world = make_world();
    EXPECT_TRUE(world) << world.error().message();
    world_ = *world;
    auto guest = Guest::create(engine, world_, which().vcpus);
    EXPECT_TRUE(guest) << guest.error().message();
    if (!guest) return nullptr;
    lacking_ = lacking(which(), (*guest)->cpuid());
    if (!lacking_.empty()) return nullptr;
    if (auto done = (*guest)->boot(which().name + ".bin", which().mode); !done) {
      ADD_FAILURE() << done.error().message();
      return nullptr;
    }
    return std::move(*guest);
  }

  // Runs with stops of random length between; at each stop `between` may replace the machine.
  template <class F>
  std::string run_with_stops(std::unique_ptr<Guest> guest, F&& between) {
    std::mt19937 random(7);
    const auto begun = std::chrono::steady_clock::now();
    for (;;) {
      // Emulated kernel code needs longer to get anywhere.
      const End end = guest->run(microseconds(20 + random() % 3000));
      if (end != End::paused) return difference(which(), end, guest->detail(), guest->log());
      if (std::chrono::steady_clock::now() - begun > std::chrono::seconds(60)) return stuck(*guest);
      if (std::string wrong = between(guest); !wrong.empty()) return wrong;
    }
  }

  // Where the processors are, for a person.
  std::string stuck(Guest& guest) {
    std::string text = "does not come to an end: the log has " + std::to_string(guest.log().size()) + " lines";
    for (unsigned id = 0; id < which().vcpus; ++id) {
      if (auto state = guest.state(id)) {
        text +=
            fmt::format("; vCPU {} at {:x}:{:x} run state {} flags {:x} shadow {}", id, state->seg[x86::CS].selector,
                        state->rip, static_cast<int>(state->run_state), state->rflags, state->events.interrupt_shadow);
      }
    }
    if (auto frozen = guest.freeze()) {
      for (const auto& device : frozen->devices) {
        text += "\n";
        for (const u8 byte : device) text += fmt::format("{:02x}", byte);
      }
    }
    return text;
  }

  // Saves the machine, makes a new one on `engine` and puts the state there.
  std::string reborn(std::unique_ptr<Guest>& guest, const std::string& engine) {
    auto frozen = guest->freeze();
    if (!frozen) return "cannot save: " + frozen.error().message();
    guest.reset();
    auto next = Guest::create(engine, world_, which().vcpus);
    if (!next) return "cannot create: " + next.error().message();
    if (auto done = (*next)->thaw(*frozen); !done) return "cannot restore: " + done.error().message();
    guest = std::move(*next);
    return {};
  }

  std::shared_ptr<World> world_;
  std::string lacking_;
};

#define BOOT_OR_SKIP(guest, engine)                                                  \
  auto guest = boot(engine);                                                         \
  if (!lacking_.empty()) GTEST_SKIP() << (engine) << " does not offer " << lacking_; \
  ASSERT_TRUE(guest)

TEST_P(Conformance, Runs) {
  BOOT_OR_SKIP(guest, GetParam().engine);
  const End end = guest->run();
  judge(GetParam().engine, test("runs"), difference(which(), end, guest->detail(), guest->log()));
}

TEST_P(Conformance, IsKicked) {
  BOOT_OR_SKIP(guest, GetParam().engine);
  judge(GetParam().engine, test("kicked"), run_with_stops(std::move(guest), [](auto&) { return std::string(); }));
}

TEST_P(Conformance, IsReborn) {
  BOOT_OR_SKIP(guest, GetParam().engine);
  judge(GetParam().engine, test("reborn"),
        run_with_stops(std::move(guest), [&](auto& g) { return reborn(g, GetParam().engine); }));
}

TEST_P(Conformance, MovesBetweenEngines) {
  if (engines().size() < 2) GTEST_SKIP() << "one engine only on this host";
  for (const std::string& engine : engines()) {
    const std::string known = known_failure(class_of(engine), test("runs"));
    if (!known.empty()) GTEST_SKIP() << engine << ": " << known;
  }
  // It may be stopped before it has looked what its processor offers, or after: all engines must offer what it needs.
  for (const std::string& engine : engines()) {
    (void)boot(engine);
    if (!lacking_.empty()) GTEST_SKIP() << engine << " does not offer " << lacking_;
  }
  std::string at = GetParam().engine;
  BOOT_OR_SKIP(guest, at);
  std::size_t next = at == engines()[0] ? 1 : 0;
  const auto move = [&](auto& g) {
    at = engines()[next];
    next ^= 1;
    return reborn(g, at);
  };
  const std::string wrong = run_with_stops(std::move(guest), move);
  judge(GetParam().engine, test("moves"), wrong.empty() ? wrong : wrong + " (last on " + at + ")");
}

INSTANTIATE_TEST_SUITE_P(Guests, Conformance, testing::ValuesIn(all_tries()), name_of_try);

}  // namespace
}  // namespace nagaya::conformance
