#include "api/operations.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/text.hpp"
#include "base/log.hpp"

namespace nagaya::api {
namespace {

constexpr std::size_t kept = 1000, most_waiting = 256;

std::string id_text(i64 id) { return fmt::format("op{}", id); }

}  // namespace

struct Operations::Record {
  i64 id = 0;
  Wanted wanted;
  std::string state = "running", message{}, started{}, finished{};
  double progress = -1;
  Json error{};
  std::stop_source stop{};
};

class Operations::Handle final : public Task {
 public:
  Handle(Operations& operations, std::shared_ptr<Record> record) : operations_(operations), record_(std::move(record)) {}
  void progress(double fraction, std::string message) override {
    const std::lock_guard lock(operations_.mutex_);
    record_->progress = std::min(fraction, 1.0);
    record_->message = std::move(message);
  }
  [[nodiscard]] std::stop_token stop() const override { return record_->stop.get_token(); }

 private:
  Operations& operations_;
  std::shared_ptr<Record> record_;
};

Operations::Operations(Database& database, Events& events, unsigned threads)
    : database_(database), events_(events), workers_(std::make_unique<Workers>("operation", threads, most_waiting)) {}

Operations::~Operations() { shut_down(std::chrono::seconds(0)); }

Result<std::unique_ptr<Operations>> Operations::open(Database& database, Events& events, unsigned threads) {
  std::unique_ptr<Operations> out(new Operations(database, events, threads));
  const Problem interrupted{.status = 500, .detail = "interrupted: the server ended meanwhile", .hint = "look at the state of what it was about"};
  TRY(database.run("UPDATE operations SET state='failed', error=?, finished=? WHERE state='running'", {to_json(interrupted).dump(), now_text()}));
  TRY(database.run("DELETE FROM operations WHERE id <= (SELECT MAX(id) FROM operations) - ?", {static_cast<i64>(kept)}));
  TRY_ASSIGN(const auto rows, database.run("SELECT id, kind, target, project, state, message, error, started, finished FROM operations"));
  for (const Database::Row& row : rows) {
    auto record = std::make_shared<Record>();
    record->id = number_of(row[0]);
    record->wanted = {.kind = text_of(row[1]), .target = text_of(row[2]), .key = {}, .project = text_of(row[3])};
    record->state = text_of(row[4]);
    record->message = text_of(row[5]);
    record->error = Json::parse(text_of(row[6]), nullptr, false);
    record->started = text_of(row[7]);
    record->finished = text_of(row[8]);
    out->records_[record->id] = std::move(record);
  }
  return out;
}

Json Operations::shown(const Record& record) {
  Json out = {{"id", id_text(record.id)}, {"kind", record.wanted.kind}, {"target", record.wanted.target}, {"state", record.state}, {"started", record.started}};
  if (record.progress >= 0) out["progress"] = record.progress;
  if (!record.message.empty()) out["message"] = record.message;
  if (record.error.is_object()) out["error"] = record.error;
  if (!record.finished.empty()) out["finished"] = record.finished;
  if (!record.wanted.project.empty()) out["project"] = record.wanted.project;
  out["cancellable"] = record.state == "running" && record.wanted.cancellable && !record.stop.stop_requested();
  return out;
}

Answer<> Operations::occupy(const std::string& key, bool beside, const std::string& by) {
  if (closed_) return std::unexpected(Problem{.status = 503, .detail = "the server is going down", .retry_after = 5});
  std::set<std::string>& holders = busy_[key];
  const auto own_kind = [&] { return std::ranges::any_of(holders, [](const std::string& id) { return id.ends_with('!'); }); };
  if (!holders.empty() && (!beside || own_kind())) {
    return refuse(409, fmt::format("{} is busy with {}", key, *holders.begin()), {}, "wait for that operation, or cancel it");
  }
  holders.insert(by);
  return {};
}

void Operations::release(const std::string& key, const std::string& by) {
  const auto found = busy_.find(key);
  if (found == busy_.end()) return;
  found->second.erase(by);
  if (found->second.empty()) busy_.erase(found);
}

Answer<std::shared_ptr<void>> Operations::hold(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const std::string by = fmt::format("change {}", ++holders_);
  if (auto ok = occupy(key, false, by); !ok) return std::unexpected(ok.error());
  return std::shared_ptr<void>(nullptr, [this, key, by](void*) {
    const std::lock_guard relock(mutex_);
    release(key, by);
  });
}

Answer<Json> Operations::start(Wanted wanted, Work work) {
  auto record = std::make_shared<Record>();
  record->wanted = std::move(wanted);
  record->started = now_text();
  const Wanted& w = record->wanted;
  std::string holder;
  {
    const std::lock_guard lock(mutex_);
    // A place first, then the row: a refused operation leaves no trace.
    const std::string place = fmt::format("change {}{}", ++holders_, w.beside ? "!" : "");
    if (auto ok = occupy(w.key, w.beside, place); !ok) return std::unexpected(ok.error());
    const auto id = database_.insert("INSERT INTO operations(kind, target, project, state, message, error, started, finished) VALUES(?,?,?,?,?,?,?,?)",
                                     {w.kind, w.target, w.project, std::string("running"), std::string(), std::string("null"), record->started, std::string()});
    release(w.key, place);
    if (!id) return std::unexpected(problem_of(id.error()));
    record->id = *id;
    holder = id_text(record->id) + (w.beside ? "!" : "");
    busy_[w.key].insert(holder);
    records_[record->id] = record;
    while (records_.size() > kept && records_.begin()->second->state != "running") records_.erase(records_.begin());
  }
  const auto job = [this, record, work = std::move(work)] {
    Answer<> outcome;
    try {
      Handle handle(*this, record);
      outcome = record->stop.stop_requested() ? refuse(409, "cancelled before it began") : work(handle);
    } catch (const std::exception& error) {
      outcome = refuse(500, fmt::format("{}: {}", record->wanted.kind, error.what()));
    }
    finish(record, outcome);
  };
  tell(*record);
  if (!workers_->post(job)) {
    finish(record, refuse(429, "too many operations wait"));
    return std::unexpected(Problem{.status = 429, .detail = "too many operations wait", .retry_after = 5});
  }
  const std::lock_guard lock(mutex_);
  return shown(*record);
}

void Operations::finish(const std::shared_ptr<Record>& record, const Answer<>& outcome) {
  {
    const std::lock_guard lock(mutex_);
    record->finished = now_text();
    if (outcome) {
      record->state = "done";
      record->progress = 1;
    } else {
      record->state = record->stop.stop_requested() ? "cancelled" : "failed";
      record->error = to_json(outcome.error());
    }
    const auto done = database_.run("UPDATE operations SET state=?, message=?, error=?, finished=? WHERE id=?",
                                    {record->state, record->message, record->error.dump(-1, ' ', false, Json::error_handler_t::replace),
                                     record->finished, record->id});
    if (!done) log::error("{}", done.error().message());
    release(record->wanted.key, id_text(record->id) + (record->wanted.beside ? "!" : ""));
  }
  tell(*record);
  ended_.notify_all();
}

void Operations::tell(const Record& record) {
  Json event = {{"kind", "operation"}};
  {
    const std::lock_guard lock(mutex_);
    event["detail"] = {{"id", id_text(record.id)}, {"kind", record.wanted.kind}, {"target", record.wanted.target}, {"state", record.state}};
    if (record.wanted.key.starts_with("domain ")) event["domain"] = record.wanted.target;
    if (!record.wanted.project.empty()) event["project"] = record.wanted.project;
  }
  events_.add(std::move(event));
}

Json Operations::list(const Caller& caller) const {
  const std::lock_guard lock(mutex_);
  Json out = Json::array();
  for (auto at = records_.rbegin(); at != records_.rend(); ++at) {
    const std::string& project = at->second->wanted.project;
    if (project.empty() || sees(caller, project)) out.push_back(shown(*at->second));
  }
  return out;
}

Answer<std::shared_ptr<Operations::Record>> Operations::find(const std::string& id, const Caller& caller) const {
  i64 number = 0;
  const char* const end = id.data() + id.size();
  if (id.size() > 2 && id.starts_with("op") && std::from_chars(id.data() + 2, end, number).ptr == end) {
    const auto found = records_.find(number);
    if (found != records_.end()) {
      const std::string& project = found->second->wanted.project;
      if (project.empty() || sees(caller, project)) return found->second;
    }
  }
  return refuse(404, fmt::format("there is no operation '{}'", printable(id, 64)));
}

Answer<Json> Operations::get(const std::string& id, const Caller& caller) const {
  const std::lock_guard lock(mutex_);
  auto record = find(id, caller);
  if (!record) return std::unexpected(record.error());
  return shown(**record);
}

Answer<Json> Operations::cancel(const std::string& id, const Caller& caller) {
  std::shared_ptr<Record> record;
  {
    const std::lock_guard lock(mutex_);
    auto found = find(id, caller);
    if (!found) return std::unexpected(found.error());
    record = *found;
    if (record->state != "running") return refuse(409, fmt::format("operation {} has ended: {}", id, record->state));
    if (!record->wanted.cancellable) return refuse(422, fmt::format("operation {} ({}) cannot be stopped half-way", id, record->wanted.kind));
  }
  // Outside the lock: what waits for it may tell its progress.
  record->stop.request_stop();
  const std::lock_guard lock(mutex_);
  return shown(*record);
}

std::size_t Operations::running() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count_if(records_, [](const auto& one) { return one.second->state == "running"; }));
}

void Operations::shut_down(std::chrono::milliseconds patience) {
  std::vector<std::shared_ptr<Record>> asked;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (const auto& [id, record] : records_) {
      if (record->state == "running") asked.push_back(record);
    }
  }
  for (const auto& record : asked) record->stop.request_stop();
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, patience, [&] { return std::ranges::none_of(asked, [](const auto& record) { return record->state == "running"; }); });
}

}  // namespace nagaya::api
