// A client of factord: the RPCs as plain methods, with deadlines, retries and event ids.
//
//   FACTORD_ASSIGN_OR_RETURN(auto client, Client::Create({.target = "127.0.0.1:7070"}));
//
//   v1::RecordRatingsRequest rating;
//   v1::Rating* event = rating.add_events();
//   event->set_user_id("ann");
//   event->set_item_id("casablanca");
//   event->set_rating(4.5);
//   FACTORD_RETURN_IF_ERROR(client->RecordRatings(rating).status());  // durable and visible from
//   here on
//
//   v1::RecommendItemsRequest query;
//   query.set_user_id("ann");
//   FACTORD_ASSIGN_OR_RETURN(v1::RecommendItemsResponse answer, client->RecommendItems(query));
//
// For many ratings use a RatingStream (client/rating_stream.h), which is faster by a factor of some
// hundred and resumes after a crash of either side.
//
// Requests and responses are the messages of proto/factord/v1, where every field and error is
// described. The server checks requests, and its message names every bad field. The client checks
// only that strings are UTF-8, without which the server could not read the request at all: else the
// call is INVALID_ARGUMENT, and nothing is sent.
//
// Deadlines: each call has one; `timeout` of a call overrides the default of its kind. A call that
// is over its deadline is DEADLINE_EXCEEDED.
//
// Retries (client/retrier.h): reads and RecordRatings are repeated until their deadline while the
// server is away, starting, stopping or overloaded, so that a restart is no error, only a delay.
// RecordRatings is applied once all the same, because every event without an event_id is given one
// first. When the time is over, the last error comes back; if the ratings may have been recorded it
// says so, and they can be sent again safely, with the same ids (StampEventIds). CreateSnapshot,
// Backup, StartPasses and CheckHealth are not repeated: a second Backup would find the first one's
// folder. Other languages: client/service_config.json and docs/clients.md.
//
// A connection that dies without a word (its packets are lost) is noticed within half a minute, and
// another one is made.
//
// TLS and a token:
//
//   Client::Create({.target = "ratings.example:7070",
//                   .tls_ca_file = "/etc/factord/ca.pem",
//                   .token_file = "/run/secrets/factord-token"});
//
// Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/status.h"
#include "client/event_ids.h"
#include "client/rating_stream.h"
#include "factord/v1/admin_service.grpc.pb.h"
#include "factord/v1/model_service.grpc.pb.h"
#include "factord/v1/rating_service.grpc.pb.h"
#include "factord/v1/recommendation_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace factord {

class Channels;

class Client {
 public:
  struct Options {
    // HOST:PORT, or what gRPC resolves by a scheme (dns:///, ipv4:, ipv6:, unix:). No URL of HTTP.
    std::string target = "127.0.0.1:7070";

    // TLS (client/credentials.h says when files are read again). Any of the next four implies it.
    bool tls = false;
    // PEM: whose certificates to believe. Empty: the system's CAs.
    std::string tls_ca_file{};
    // PEM: this client's own certificate (or chain) and key, for a server that asks. Both or none.
    std::string tls_cert_file{};
    std::string tls_key_file{};
    // The name to be found in the server's certificate, if it is not that of `target`.
    std::string tls_server_name{};
    // How often the files are looked at, at the most; at least a second. Calls and streams that
    // begin after a change use a new connection.
    absl::Duration tls_reload_interval = absl::Seconds(10);

    // Sent with every call. Without TLS only to a server on this machine. `token_file`: a file
    // whose first word it is, read again when it changes. At most one of the two.
    std::string token{};
    std::string token_file{};

    absl::Duration read_timeout = absl::Seconds(5);
    absl::Duration write_timeout = absl::Seconds(10);
    // Snapshots, hashes and backups read or write the whole model.
    absl::Duration admin_timeout = absl::Minutes(10);
    // The largest response that is taken. The server's own stay far below: a page of factors, the
    // largest of them, below 4 MiB.
    int max_response_bytes = 64 << 20;

    // INVALID_ARGUMENT naming every bad option; reads the files.
    absl::Status Validate() const;
  };

  // Does not connect yet. INVALID_ARGUMENT for bad options.
  static absl::StatusOr<std::unique_ptr<Client>> Create(Options options);

  // Each call's `timeout`: zero means the default of its kind; a negative one is over already, and
  // nothing is sent.
  // Events without an event_id are given one.
  absl::StatusOr<v1::RecordRatingsResponse> RecordRatings(
      v1::RecordRatingsRequest request, absl::Duration timeout = absl::ZeroDuration());

  // Gives each event without an event_id one, as RecordRatings does with its own copy: for requests
  // that shall be sent again when RecordRatings has failed.
  void StampEventIds(v1::RecordRatingsRequest* request);

  absl::StatusOr<v1::RecommendItemsResponse> RecommendItems(
      const v1::RecommendItemsRequest& request, absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<v1::PredictRatingsResponse> PredictRatings(
      const v1::PredictRatingsRequest& request, absl::Duration timeout = absl::ZeroDuration());

  absl::StatusOr<v1::GetModelResponse> GetModel(const v1::GetModelRequest& request,
                                                absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<v1::ListTopicsResponse> ListTopics(const v1::ListTopicsRequest& request,
                                                    absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<v1::GetFactorsResponse> GetFactors(const v1::GetFactorsRequest& request,
                                                    absl::Duration timeout = absl::ZeroDuration());

  absl::StatusOr<v1::CreateSnapshotResponse> CreateSnapshot(
      const v1::CreateSnapshotRequest& request, absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<v1::ComputeHashResponse> ComputeHash(
      const v1::ComputeHashRequest& request, absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<v1::BackupResponse> Backup(const v1::BackupRequest& request,
                                            absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<v1::StartPassesResponse> StartPasses(
      const v1::StartPassesRequest& request, absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<v1::GetPassesResponse> GetPasses(const v1::GetPassesRequest& request,
                                                  absl::Duration timeout = absl::ZeroDuration());
  absl::StatusOr<v1::StopPassesResponse> StopPasses(const v1::StopPassesRequest& request,
                                                    absl::Duration timeout = absl::ZeroDuration());

  // Whether a service is serving: "" or "factord.v1.RecommendationService" for reads,
  // "factord.v1.RatingService" for writes, "liveness" for the process. NOT_FOUND for another name.
  absl::StatusOr<grpc::health::v1::HealthCheckResponse> CheckHealth(
      const std::string& service, absl::Duration timeout = absl::ZeroDuration());
  // Waits until `end`, or, where there is no connection, until there is one: for asking again.
  // (gRPC makes no progress with one while merely time passes.)
  void WaitOrConnect(absl::Time end);

  // Opens a stream over this client's connections. It may outlive the client. INVALID_ARGUMENT for
  // bad options.
  absl::StatusOr<std::unique_ptr<RatingStream>> StreamRatings(RatingStream::Options options);

 private:
  template <typename Stub, typename Request, typename Response>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

  enum class Repeat { kNever, kUntilDeadline };

  Client(Options options, std::shared_ptr<Channels> channels);

  // Sets *maybe_done (null: nobody asks) if an attempt failed that may have been carried out.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Method<Stub, Request, Response> method, const Request& request,
                                absl::Duration timeout, Repeat repeat, bool* maybe_done = nullptr);
  // `last_error`: of the attempt before; OK: there was none.
  absl::Status NoAnswer(bool is_connected, absl::Duration timeout, int attempts,
                        const absl::Status& last_error) const;

  const Options options_;
  const std::shared_ptr<Channels> channels_;
  EventIdSource event_ids_;
};

}  // namespace factord
