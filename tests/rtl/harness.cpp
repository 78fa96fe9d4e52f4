// Runs one or more cases on a Verilated machine and prints what it saw, one line a case.
//
// A stimulus file (little-endian int32 words) holds, for each case: the settings, the steps, the DMA program, the DRAM's
// bytes, the expected outputs, raw and as stored, and for each layer the steps and output tiles up to its end, and its
// map if that lies on chip.  Every output value is compared, those of a map when its last tile is finished.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "Vmachine.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

constexpr long long MAX_CYCLES = 50'000'000;

struct Reader {
    std::ifstream file;
    explicit Reader(const char* path) : file(path, std::ios::binary) {}
    bool more() { return file.peek() != EOF; }
    int32_t word() {
        int32_t value = 0;
        file.read(reinterpret_cast<char*>(&value), 4);
        if (!file) { std::fprintf(stderr, "stimulus file ends too early\n"); std::exit(2); }
        return value;
    }
    template <typename T> std::vector<T> array() {
        std::vector<T> values(static_cast<size_t>(word()));
        file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
        if (!file) { std::fprintf(stderr, "stimulus file ends too early\n"); std::exit(2); }
        return values;
    }
};

struct Part {  // a layer of the case
    uint32_t steps, tiles;
    int32_t map_at;
    std::vector<int8_t> map;
    long long computed = -1, finished = -1;
};

void clock(Vmachine& top) {
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
}

void host(Vmachine& top, int space, size_t index, size_t word, int32_t data) {
    top.host_we = 1;
    top.host_space = space;
    top.host_index = index;
    top.host_word = word;
    top.host_data = static_cast<uint32_t>(data);
    clock(top);
    top.host_we = 0;
}

void program(Vmachine& top, int space, const std::vector<int32_t>& words, size_t a_row) {
    for (size_t i = 0; i < words.size(); i++) host(top, space, i / a_row, i % a_row, words[i]);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) { std::fprintf(stderr, "usage: machine STIMULUS\n"); return 2; }
    Reader in(argv[1]);
    Vmachine top;
    bool good = true;
    while (in.more()) {
        const auto name = in.array<char>();
        const auto step_words = static_cast<size_t>(in.word()), dma_words = static_cast<size_t>(in.word());
        const auto setting_words = static_cast<size_t>(in.word());
        const auto settings = in.array<int32_t>(), steps = in.array<int32_t>(), requests = in.array<int32_t>();
        const auto memory = in.array<uint8_t>();
        const auto raw = in.array<int64_t>();      // by address of the stored byte
        const auto stored = in.array<int8_t>();
        const auto output_base = static_cast<uint32_t>(in.word());
        std::vector<Part> parts(static_cast<size_t>(in.word()));
        size_t outputs = stored.size();
        for (Part& part : parts) {
            part.steps = static_cast<uint32_t>(in.word());
            part.tiles = static_cast<uint32_t>(in.word());
            part.map_at = in.word();
            part.map = in.array<int8_t>();
            outputs += part.map.size();
        }

        top.rst = 1;
        top.go = 0;
        program(top, 0, settings, setting_words);
        program(top, 1, steps, step_words);
        program(top, 2, requests, dma_words);
        clock(top);
        top.rst = 0;
        top.go = 1;
        long long cycles = 0, compute = 0, transform = 0, inverse = 0, dma = 0, checked = 0, wrong = 0;
        bool computing = false, transforming = false, inverting = false;
        std::vector<bool> seen(stored.size(), false);
        for (;; cycles++) {
            top.clk = 0;
            top.eval();
            for (Part& part : parts) {
                if (part.computed < 0 && top.steps_computed >= part.steps) part.computed = cycles;
                if (part.finished >= 0 || top.tiles_finished < part.tiles) continue;
                part.finished = cycles;
                for (size_t b = 0; b < part.map.size(); b++) {
                    top.map_read_at = static_cast<uint32_t>(part.map_at) + b;
                    top.eval();
                    checked++;
                    if (static_cast<int8_t>(top.map_read) != part.map[b] && wrong++ < 5) {
                        std::fprintf(stderr, "%s: byte %zu of layer %zu's map is %d, expected %d\n",
                                     std::string(name.begin(), name.end()).c_str(), b, static_cast<size_t>(&part - &parts[0]),
                                     static_cast<int8_t>(top.map_read), part.map[b]);
                    }
                }
            }
            if (top.finished) break;
            if (cycles > MAX_CYCLES) { std::fprintf(stderr, "no end after %lld cycles\n", cycles); return 1; }
            computing |= top.compute_start;
            transforming |= top.transform_start;
            inverting |= top.inverse_start;
            compute += computing;
            transform += transforming;
            inverse += inverting;
            dma += top.beat;
            if (top.compute_done) computing = false;
            if (top.transform_done) transforming = false;
            if (top.inverse_done) inverting = false;
            if (top.beat && top.beat_kind != 2) {
                for (uint32_t b = 0; b < top.beat_bytes; b++) top.read_data[b] = memory.at(top.beat_address + b);
            }
            if (top.beat && top.beat_kind == 2) {
                for (uint32_t b = 0; b < top.beat_bytes; b++) {
                    const size_t at = top.beat_address + b - output_base;
                    int64_t value = static_cast<int64_t>(top.write_raw[b]);
                    value = static_cast<int64_t>(static_cast<uint64_t>(value) << 16) >> 16;  // 48 bits, signed
                    const bool same = value == raw.at(at) && static_cast<int8_t>(top.write_data[b]) == stored.at(at);
                    if (!same && wrong++ < 5) {
                        std::fprintf(stderr, "%s: output %zu is %lld (%d), expected %lld (%d)\n",
                                     std::string(name.begin(), name.end()).c_str(), at, static_cast<long long>(value),
                                     static_cast<int8_t>(top.write_data[b]), static_cast<long long>(raw.at(at)), stored.at(at));
                    }
                    checked += !seen.at(at);
                    seen.at(at) = true;
                }
            }
            top.clk = 1;
            top.eval();
        }
        const bool all = checked == static_cast<long long>(outputs);
        good &= all && wrong == 0;
        std::string computed, finished;
        for (const Part& part : parts) {
            computed += (computed.empty() ? "" : ", ") + std::to_string(part.computed);
            finished += (finished.empty() ? "" : ", ") + std::to_string(part.finished);
        }
        std::printf("{\"name\": \"%s\", \"cycles\": %lld, \"compute\": %lld, \"transform\": %lld, \"inverse\": %lld, "
                    "\"dma\": %lld, \"outputs\": %zu, \"checked\": %lld, \"wrong\": %lld, "
                    "\"computed\": [%s], \"finished\": [%s]}\n",
                    std::string(name.begin(), name.end()).c_str(), cycles, compute, transform, inverse, dma,
                    outputs, checked, wrong, computed.c_str(), finished.c_str());
        std::fflush(stdout);
    }
    return good ? 0 : 1;
}
