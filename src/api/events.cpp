#include "api/events.hpp"

#include <algorithm>

#include "api/text.hpp"
#include "base/log.hpp"

namespace nagaya::api {

Result<std::unique_ptr<Events>> Events::open(Database& database) {
  std::unique_ptr<Events> out(new Events(database));
  TRY_ASSIGN(const auto rows, database.run("SELECT id, json FROM (SELECT id, json FROM events ORDER BY id DESC LIMIT ?) ORDER BY id",
                                           {static_cast<i64>(kept_events)}));
  for (const Database::Row& row : rows) {
    Json event = Json::parse(text_of(row[1]), nullptr, false);
    if (!event.is_object()) continue;
    event["id"] = out->last_ = number_of(row[0]);
    out->events_.push_back(std::move(event));
  }
  return out;
}

void Events::add(Json event) {
  event["time"] = now_text();
  std::function<void()> listener;
  {
    // The lock spans both, so that ids in memory go up.
    const std::lock_guard lock(mutex_);
    const std::string text = event.dump(-1, ' ', false, Json::error_handler_t::replace);
    const auto id = database_.insert("INSERT INTO events(project, json) VALUES(?, ?)", {event.value("project", ""), text});
    // A disk without space must not stop what happens from being told.
    if (!id) log::error("{}", id.error().message());
    last_ = id ? *id : last_ + 1;
    event["id"] = last_;
    events_.push_back(std::move(event));
    if (events_.size() > kept_events) events_.pop_front();
    if (last_ % 512 == 0) {
      if (auto done = database_.run("DELETE FROM events WHERE id <= ?", {last_ - static_cast<i64>(kept_events)}); !done) {
        log::error("{}", done.error().message());
      }
    }
    listener = listener_;
  }
  if (listener) listener();
}

std::vector<Json> Events::after(i64& id, const Caller& caller, const std::string& domain, std::size_t most) const {
  std::vector<Json> out;
  const std::lock_guard lock(mutex_);
  const auto first = std::ranges::upper_bound(events_, id, {}, [](const Json& event) { return event["id"].get<i64>(); });
  for (auto at = first; at != events_.end() && out.size() < most; ++at) {
    id = (*at)["id"].get<i64>();
    const auto project = at->find("project");
    // What belongs to no project (images, networks) is everyone's.
    if (project != at->end() && !sees(caller, project->get_ref<const std::string&>())) continue;
    if (!domain.empty() && at->value("domain", "") != domain) continue;
    out.push_back(*at);
  }
  return out;
}

i64 Events::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

void Events::on_event(std::function<void()> listener) {
  const std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
}

}  // namespace nagaya::api
