// The exchange between hosts, for all agents of one: adds up what they published to the host's
// canonical nodes, has each slice of those added up over all hosts by one of them, and brings the
// sums to all. A reduce-scatter straight to the slices' hosts and a gather back, chunk by chunk, so
// that both directions of every link are in use from the first chunk on. Chunks leave as soon as
// their gradients are there, while others are still computed, and of those that are there the first
// of the flat space first: the next forward pass wants them first. Slices are dealt (dealt.h), so
// that all links carry something from the first gradient on. Only what is made of the sums waits
// for all hosts' rows.
//
// Pure: frames go out through a Carrier and come in by place() and took(); what moves them (TLS
// links, a test) is not its business. One thread. A relay lives as long as a line-up; what it has
// completed is in the World and outlives it.
//
// The bits: a chunk's sum is made over the canonical tree, whoever makes it, so neither the line-up
// nor the order of arrival changes any (design, rule 4).
//
// With a codec that packs, frames are packed (packing.h): a host's nodes are cut where the coding's
// are, and those that are the coding's travel encoded. Who adds up a slice takes the whole way of
// codec.h, and what it sends to all is packed again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/large_floats.h"
#include "base/result.h"
#include "reduce/codec.h"
#include "reduce/kernels.h"
#include "round/dealt.h"
#include "round/packing.h"
#include "round/world.h"

namespace instep::round {

// Elements of a frame: small enough that a link's two directions overlap, large enough that a
// frame's cost does not count.
inline constexpr std::uint64_t kChunkElements = 64 * reduce::kBlockElements;

struct RelayHost {
  std::uint32_t id = 0;
  std::vector<std::uint32_t> shards;  // ascending
  reduce::Range slice;                // of the dealt order: what it adds up for all
};

struct RelaySetup {
  std::uint32_t lineup = 0;
  std::uint32_t me = 0;
  std::uint64_t first_round = 0;
  std::vector<RelayHost> hosts;                   // ascending; the first one's directive counts
  std::optional<std::uint32_t> donor;             // has the sums of the round before the first
  std::uint64_t chunk_elements = kChunkElements;  // the same on all hosts; whole blocks
};

struct RelayFrame {
  enum class Kind : std::uint32_t {
    kHead = 16,  // a host's rows, and which of its sums there are
    kSums,       // of one of its nodes, a chunk of the receiver's slice
    kWhole,      // of one target, a chunk of the sender's slice
    kWant,       // to the donor: the round before the first, please
    kRows,       // the donor's answer, before kWhole of everything
  };
  Kind kind = Kind::kHead;
  std::uint32_t bytes = 0;
  std::uint32_t lineup = 0, index = 0;  // the node's or target's number
  std::uint64_t round = 0, at = 0;      // the chunk's first element
  std::uint32_t width = 0;  // bytes of one of its values, for who may compress them; 0: none are

  bool operator==(const RelayFrame&) const = default;
};

class Carrier {
 public:
  virtual ~Carrier() = default;
  // The payload stays as it is until the host has got it, or the line-up is over and the links of
  // those that are not in the next one are cut.
  virtual void send(std::uint32_t to, const RelayFrame& frame,
                    std::span<const std::byte> payload) = 0;
};

// What a local member published of a round.
struct LocalPart {
  std::vector<reduce::Node> nodes;
  std::vector<const float*> sources;  // [nodes][tensors]; null: absent
  std::vector<std::uint8_t> pending;  // the same: not 0 if it is still computed; empty: none is
  std::vector<ShardRow> rows;
  Directive directive = Directive::kNone;
};

class Relay {
 public:
  Relay(RelaySetup setup, World& world, Carrier& carrier);

  // All hosts have heard of the line-up: from here on there may be frames.
  void start();
  // What there is by now of the host's own parts of the round that is due(), in place of what was
  // said of them before; rows and directives do not count yet. kCorrupt if they are not the host's
  // shards.
  Status open(std::uint64_t round, std::vector<LocalPart> parts);
  // Nothing of parts that are not whole is read any more, before they are opened again. What was
  // read stays: whoever computes it again computes the same.
  void close();
  // All of the parts; their memory is read until read_all(). `check` sums up the state at the
  // round's beginning: replicas compare it (design, rule 12).
  Status begin(std::uint64_t round, std::vector<LocalPart> parts, std::uint64_t check);
  // One bounded piece of work; false: there is none until something arrives.
  bool step();
  // Nothing of the parts is read any more.
  bool read_all() const { return !open_ || collected_ == order_.size(); }

  // The round whose parts begin() takes next; while behind() the donor's answer comes first.
  std::uint64_t due() const { return due_; }
  bool behind() const { return behind_; }
  bool under_way() const { return under_way_; }
  // A round was completed since the last call: its number. The world has it.
  std::optional<std::uint64_t> completed();

  // A frame from a host: where its payload goes (a frame of an earlier line-up is read and
  // forgotten), and that it lies there. An Error: the host does not keep to the protocol, and its
  // link is to be closed; kDamaged: its state differs from ours, which ends the run.
  Result<std::span<std::byte>> place(std::uint32_t from, const RelayFrame& frame);
  Status took(std::uint32_t from, const RelayFrame& frame);

 private:
  using Form = Packing::Form;
  struct Peer {
    RelayHost host;
    std::vector<Piece> pieces;                     // of its slice
    std::vector<reduce::Node> nodes;               // of its shards
    std::vector<LargeFloats> inbox;                // [nodes] of my slice
    std::vector<std::vector<std::uint8_t>> taken;  // [nodes][my pieces] that are there
    std::vector<std::vector<std::uint8_t>> whole;  // [targets][its pieces] likewise
    std::size_t whole_left = 0;                    // of those, not there
    // The newest round that it has sent something of: the one that is due, or the one after that,
    // if it has completed this one already. And the newest whose head is here, and good.
    std::optional<std::uint64_t> begun, headed;
    std::vector<std::byte> head;  // of that
    std::uint64_t check = 0;      // of the one that is due
    std::size_t first_input = 0;  // of its nodes, in targets_
  };
  struct Chunk {
    std::size_t host = 0;    // whose slice
    std::size_t number = 0;  // of the piece in it
    Piece piece;
    std::size_t tensor = 0, tensors_end = 0;  // that it has something of
    bool collected = false;
  };

  std::vector<reduce::Node> nodes_of(const std::vector<std::uint32_t>& shards) const;
  // (input, tensor, at): where an input has the tensor's value at a flat element; null if it has
  // none of the tensor.
  using Source = std::function<const float*(std::size_t, std::size_t, std::uint64_t)>;
  void add_up(reduce::NodeSum& adder, const reduce::Range& range, float* to, const Source& source);
  std::vector<Chunk> chunks_of(std::size_t host) const;
  reduce::Range chunk_from(std::uint64_t begin) const;
  void send_head();
  std::uint32_t inputs_of_a_chunk() const;
  bool collectable(const Chunk& chunk) const;
  void collect(std::size_t place);
  void arrived(std::size_t number);
  void combine_ready();
  void combine(const Piece& piece);
  void send_whole(std::size_t target, std::uint64_t at, std::span<const std::byte> bytes);
  void pack_sums(std::size_t place, std::size_t node);
  void combine_coded(std::size_t number);
  void unpack_whole(const reduce::Range& chunk, const std::byte* packed);
  void look_at_heads();
  Whole heads() const;
  const float* input_at(std::size_t input, std::size_t tensor, std::uint64_t at,
                        const Piece& piece) const;
  Form form_of(const reduce::Node& node) const;
  Form whole_form() const { return coded_ ? Form::kEncoded : Form::kFlat; }
  void finish_if_whole();
  void finish_catching_up();
  void answer(std::uint32_t to);
  Peer* peer(std::uint32_t id);
  std::span<std::byte> buffer(std::uint32_t from, const RelayFrame& frame);
  bool fits(const RelayFrame& frame, const reduce::Range& range, Form form) const;
  const Piece* piece_of(const RelayFrame& frame, std::span<const Piece> pieces, Form form) const;
  bool takes_beginning(Peer& from, std::uint64_t round);
  Result<std::span<std::byte>> place_sums(Peer& from, const RelayFrame& frame);
  Result<std::span<std::byte>> place_whole(Peer& from, const RelayFrame& frame);
  bool caught_up_by(const Peer& from, const RelayFrame& frame) const;
  void take_sums(Peer& from, const RelayFrame& frame);
  void take_whole(Peer& from, const RelayFrame& frame);
  void take_old(const RelayFrame& frame, const std::byte* buffered);
  Status take_head(Peer& from, std::uint64_t round);
  Status use_head(Peer& from);
  Status take_rows(std::uint32_t from);
  Status compare(const Peer& peer) const;

  const RelaySetup setup_;
  World& world_;
  Carrier& carrier_;
  const std::vector<reduce::Range>& tensors_;
  const Packing packing_;
  RelayHost mine_;
  std::vector<Piece> my_pieces_;  // of my slice
  std::vector<reduce::Node> my_nodes_;
  std::vector<Peer> peers_;               // all hosts but me
  std::vector<reduce::NodeSum> targets_;  // inputs: my nodes, then the peers' in their order
  std::vector<std::uint8_t> there_;       // [inputs][tensors] present
  std::vector<LargeFloats> sums_;         // [my nodes], [elements]; with a codec of my slice
  std::vector<Chunk> order_;              // of collecting, if all is there
  // With a codec.
  std::optional<reduce::CodedCombiner> coded_;     // of the inputs
  std::vector<std::vector<std::byte>> packed_;     // [order][my nodes] sums, as sent
  std::vector<std::vector<std::byte>> wholes_[2];  // [my pieces] as sent; by round

  std::uint64_t due_ = 0;
  bool behind_ = false, open_ = false, under_way_ = false;
  bool known_ = false;  // all hosts' heads of the round under way are here
  std::optional<std::uint64_t> completed_;
  // Of the round under way.
  std::vector<LocalPart> parts_;
  std::vector<reduce::NodeSum> collects_;  // [my nodes], of the parts' nodes
  std::vector<const float*> locals_;       // [parts' nodes][tensors]
  std::vector<std::uint32_t> pending_;     // [tensors] of the parts' nodes
  std::size_t cursor_ = 0;                 // in order_: all before it are collected
  std::size_t collected_ = 0;              // chunks
  // Of my slice. Of the round after it, too, once all is combined.
  std::vector<std::uint32_t> missing_;  // [my pieces] sums that are not here
  std::vector<std::size_t> ready_;      // pieces of which none is missing, not combined
  std::size_t combined_ = 0;            // pieces
  std::vector<std::byte> head_[2];      // mine, as sent; by round
  std::vector<ShardRow> rows_;
  std::uint64_t check_ = 0;
  Directive directive_ = Directive::kNone;
  // What is to be unpacked or forgotten: one by host, for their frames come at the same time.
  std::map<std::uint32_t, std::vector<std::byte>> buffers_;
  std::vector<std::byte> rows_in_, rows_out_;  // kRows
  std::optional<Whole> answered_;
  std::vector<std::uint64_t> caught_;  // [targets] elements that the donor has sent
  std::vector<const float*> row_;
  std::vector<float> chunk_;  // scratch
};

}  // namespace instep::round
