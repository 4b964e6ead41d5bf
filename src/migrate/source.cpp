#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>

#include "base/scope.hpp"
#include "container/checkpoint/checkpoint.hpp"
#include "container/checkpoint/criu.hpp"
#include "migrate/definition.hpp"
#include "migrate/greeting.hpp"
#include "migrate/images.hpp"
#include "migrate/migrate.hpp"
#include "migrate/tree.hpp"

namespace nagaya::migrate {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// One move, from the source's side.
class Source {
 public:
  Source(Stream& stream, const SourceOptions& options, const std::vector<std::string>& trees)
      : stream_(stream), options_(options), trees_(trees.begin(), trees.end()) {}

  Result<Report> run(const container::criu::Features& features) {
    chained_ = features.memory_tracking;
    TRY(send_trees());
    for (u32 round = 1; round < options_.rounds; ++round) {
      TRY(dump(round, false));
      TRY_ASSIGN(const u64 sent, images_.send(stream_, folder(round), round));
      note(round, sent);
      if (!chained_ && round > 1) std::filesystem::remove_all(folder(round - 1));
      if (sent <= options_.small_bytes) break;
      // Memory is written as fast as it is sent: more rounds would not help.
      const auto& all = report_.page_bytes;
      if (all.size() > 1 && all.back() > all[all.size() - 2] * 9 / 10) break;
    }
    const u32 last = report_.rounds + 1;
    TRY(dump(last, true));
    report_.bytes = stream_.sent();
    report_.total_s = seconds_since(begin_);
    if (doubt_) {
      return fail("the container was handed over, but the other side did not say that it runs", doubt_->message(),
                  fmt::format("its images are kept in '{}': look there first, then restore them on one side only", folder(last)));
    }
    return report_;
  }

 private:
  [[nodiscard]] std::string folder(u32 round) const { return fmt::format("{}/round-{}", options_.work, round); }

  Result<> send_trees() {
    for (u32 i = 0; i < trees_.size(); ++i) TRY(trees_[i].send(stream_, i));
    return {};
  }

  void note(u32 round, u64 sent) {
    report_.rounds = round;
    report_.page_bytes.push_back(sent);
    if (options_.progress) options_.progress(fmt::format("round {}: {} KiB of memory", round, sent / 1024));
  }

  Result<> dump(u32 round, bool last) {
    container::CheckpointOptions dump;
    dump.state_root = options_.state_root;
    dump.id = options_.id;
    dump.image_path = folder(round);
    dump.tcp_established = options_.tcp_established;
    dump.ext_unix_sk = options_.ext_unix_sk;
    dump.shell_job = options_.shell_job;
    dump.file_locks = options_.file_locks;
    dump.leave_running = !last || options_.leave_running;
    dump.pre_dump = !last && chained_;
    if (chained_ && round > 1) dump.parent_path = fmt::format("../round-{}", round - 1);
    if (last) {
      dump.at_step = [this, round](std::string_view step) -> Result<> {
        if (step == "pre-dump") frozen_ = Clock::now();
        return step == "post-dump" ? hand_over(round) : Result<>{};
      };
    }
    return container::checkpoint(dump);
  }

  /// The container stands still and is saved. An error lets it go on here.
  Result<> hand_over(u32 round) {
    TRY(send_trees());
    TRY_ASSIGN(const u64 sent, images_.send(stream_, folder(round), round));
    note(round, sent);
    TRY(stream_.send(Kind::restore));
    TRY(stream_.expect(Kind::restored));
    if (options_.leaving) TRY(options_.leaving(true));
    TRY(stream_.send(Kind::commit));
    auto running = stream_.expect(Kind::running);
    report_.standstill_s = seconds_since(frozen_);
    if (running) return {};
    // It told that it failed: then it is ours again. It fell silent: two of it would be worse than one that stands still.
    if (running.error().code == ECANCELED && options_.leaving) (void)options_.leaving(false);
    if (running.error().code == ECANCELED) return std::unexpected(std::move(running.error()));
    doubt_ = running.error();
    return {};
  }

  Stream& stream_;
  const SourceOptions& options_;
  std::vector<TreeSender> trees_;
  ImageSender images_;
  Report report_;
  bool chained_ = false;
  std::optional<Error> doubt_;
  Clock::time_point begin_ = Clock::now(), frozen_ = begin_;
};

}  // namespace

Result<Report> send_container(Stream& stream, const SourceOptions& options) {
  TRY_ASSIGN(const container::State state, container::state(options.state_root, options.id));
  if (state.status != container::Status::running) {
    return fail("cannot move container '" + options.id + "'", "it is " + std::string(container::status_name(state.status)) + ", not running");
  }
  if (options.leave_running && stream.answered()) return fail("a container that moves cannot stay");
  TRY_ASSIGN(const container::criu::Program program, container::criu::find_program());
  TRY_ASSIGN(const container::criu::Features features, container::criu::ask_features(program));
  Definition definition;
  definition.id = options.id;
  TRY_ASSIGN(definition.config, container::configuration(options.state_root, options.id));
  definition.chained = features.memory_tracking;
  definition.tcp_established = options.tcp_established;
  definition.ext_unix_sk = options.ext_unix_sk;
  definition.shell_job = options.shell_job;
  definition.file_locks = options.file_locks;

  std::error_code ignored;
  if (std::filesystem::exists(options.work, ignored)) return fail("folder '" + options.work + "' is there already", "", "name one for the images that is not");
  std::filesystem::create_directories(options.work, ignored);
  ::chmod(options.work.c_str(), 0700);
  bool keep = false;
  const ScopeExit clear([&] {
    if (!keep) std::filesystem::remove_all(options.work, ignored);
  });

  TRY(greet(stream, program, false));
  TRY(stream.send(Kind::definition, write_definition(definition)));
  TRY(stream.expect(Kind::ready));
  Source source(stream, options, options.trees.empty() ? std::vector{state.rootfs} : options.trees);
  auto report = source.run(features);
  if (!report) {
    if (report.error().code != ECANCELED) (void)stream.send(Kind::failed, std::string_view(report.error().message()).substr(0, 4096));
    const auto left = container::state(options.state_root, options.id);
    keep = !left || left->status == container::Status::stopped;
  }
  return report;
}

}  // namespace nagaya::migrate
