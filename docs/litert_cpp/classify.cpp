// Reads the steps of sequences from standard input, one a line, and after each empty line prints the class that the network
// sees and the integers of its output:
//
//     ./classify model.tflite step < steps.txt
//     ./classify model.tflite serving_default < steps.txt
//
// The signature `step` takes the steps as they come and carries the states from call to call; `serving_default` takes a whole
// sequence in one call. The integers are the same.
#ifdef LITERT_SDK
#include "litert/c/litert_common.h"
#include "litert/c/litert_compiled_model.h"
#include "litert/c/litert_environment.h"
#include "litert/c/litert_model.h"
#include "litert/c/litert_options.h"
#include "litert/c/litert_tensor_buffer.h"
#else
#include "litert_c.h"
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <iostream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using Integers = std::vector<int64_t>;

void check(LiteRtStatus status, const std::string& what) {
    if (status != kLiteRtStatusOk) throw std::runtime_error(what + ": LiteRT's status " + std::to_string(status));
}

// An input, an output or a state. An integer stands for (integer - zero_point) * scale.
struct Tensor {
    std::string name;
    LiteRtRankedTensorType type{};
    LiteRtQuantizationPerTensor quantization{1.0F, 0};
    std::optional<unsigned> time_axis;
    LiteRtTensorBuffer buffer = nullptr;

    Tensor(const char* its_name, LiteRtTensor tensor) : name(its_name) {
        check(LiteRtGetRankedTensorType(tensor, &type), name);
        check(LiteRtGetPerTensorQuantization(tensor, &quantization), name);
        if (type.element_type != kLiteRtElementTypeUInt8 && type.element_type != kLiteRtElementTypeInt16)
            throw std::runtime_error(name + ": this program knows uint8 and int16 only");
        for (unsigned axis = 0; axis < type.layout.rank; ++axis)
            if (type.layout.dimensions[axis] < 0) time_axis = axis; // as many steps as come
    }

    bool is_bytes() const { return type.element_type == kLiteRtElementTypeUInt8; }

    size_t size() const { return step_size() * static_cast<size_t>(time_axis ? steps() : 1); }

    // How many integers there are in a step.
    size_t step_size() const {
        size_t product = 1;
        for (unsigned axis = 0; axis < type.layout.rank; ++axis)
            if (axis != time_axis) product *= static_cast<size_t>(type.layout.dimensions[axis]);
        return product;
    }

    int32_t steps() const { return type.layout.dimensions[*time_axis]; }

    void set_steps(int32_t steps) { type.layout.dimensions[*time_axis] = steps; }

    // Rounded to nearest, ties to even, and saturated.
    int64_t quantized(double value) const {
        double steps = std::nearbyint(value / static_cast<double>(quantization.scale));
        double integer = steps + static_cast<double>(quantization.zero_point);
        return static_cast<int64_t>(std::clamp(integer, is_bytes() ? 0.0 : -32768.0, is_bytes() ? 255.0 : 32767.0));
    }

    void write(const Integers& integers) {
        void* memory = nullptr;
        check(LiteRtLockTensorBuffer(buffer, &memory, kLiteRtTensorBufferLockModeWrite), name);
        if (is_bytes())
            std::copy(integers.begin(), integers.end(), static_cast<uint8_t*>(memory));
        else
            std::copy(integers.begin(), integers.end(), static_cast<int16_t*>(memory));
        check(LiteRtUnlockTensorBuffer(buffer), name);
    }

    Integers read() const {
        void* memory = nullptr;
        check(LiteRtLockTensorBuffer(buffer, &memory, kLiteRtTensorBufferLockModeRead), name);
        Integers integers(size());
        if (is_bytes())
            std::copy_n(static_cast<const uint8_t*>(memory), size(), integers.begin());
        else
            std::copy_n(static_cast<const int16_t*>(memory), size(), integers.begin());
        check(LiteRtUnlockTensorBuffer(buffer), name);
        return integers;
    }
};

// One signature of a model.tflite on the processor.
class Network {
public:
    Network(const char* path, const std::string& signature) {
        check(LiteRtCreateEnvironment(0, nullptr, &environment_), "environment");
        check(LiteRtCreateModelFromFile(environment_, path, &model_), path);
        LiteRtOptions options = nullptr;
        check(LiteRtCreateOptions(&options), "options");
        check(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu), "options");
        check(LiteRtCreateCompiledModel(environment_, model_, options, &compiled_), path);
        LiteRtDestroyOptions(options);
        find_tensors(signature);
        for (std::vector<Tensor>* tensors : {&inputs_, &outputs_})
            for (Tensor& tensor : *tensors)
                if (!tensor.time_axis) allocate(tensor);
        reset();
    }

    ~Network() {
        for (const std::vector<Tensor>* tensors : {&inputs_, &outputs_})
            for (const Tensor& tensor : *tensors)
                if (tensor.buffer != nullptr) LiteRtDestroyTensorBuffer(tensor.buffer);
        LiteRtDestroyCompiledModel(compiled_);
        LiteRtDestroyModel(model_);
        LiteRtDestroyEnvironment(environment_);
    }

    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;

    bool takes_sequences() const { return inputs_[x_].time_axis.has_value(); }

    // States of 0, for which the zero point stands.
    void reset() {
        for (auto [before, after] : states_) {
            Tensor& state = inputs_[before];
            state.write(Integers(state.size(), state.quantization.zero_point));
        }
    }

    // One call. The states that it leaves are those that the next one begins with: the buffers change places.
    Integers run(const std::vector<double>& values) {
        Tensor& x = inputs_[x_];
        if (takes_sequences()) fit(values.size());
        if (values.size() != x.size())
            throw std::runtime_error(x.name + ": found " + std::to_string(values.size()) + " values, expected " +
                                     std::to_string(x.size()));
        Integers integers;
        for (double value : values) integers.push_back(x.quantized(value));
        x.write(integers);
        std::vector<LiteRtTensorBuffer> in, out;
        for (const Tensor& tensor : inputs_) in.push_back(tensor.buffer);
        for (const Tensor& tensor : outputs_) out.push_back(tensor.buffer);
        check(LiteRtRunCompiledModel(compiled_, signature_, in.size(), in.data(), out.size(), out.data()), "run");
        for (auto [before, after] : states_) std::swap(inputs_[before].buffer, outputs_[after].buffer);
        Integers output = outputs_[y_].read(); // of all steps, where the network answers at each
        return {output.end() - static_cast<ptrdiff_t>(outputs_[y_].step_size()), output.end()};
    }

private:
    void find_tensors(const std::string& wanted) {
        LiteRtParamIndex count = 0;
        LiteRtSignature signature = nullptr;
        const char* name = "";
        check(LiteRtGetNumModelSignatures(model_, &count), "signatures");
        for (signature_ = 0; signature_ < count; ++signature_) {
            check(LiteRtGetModelSignature(model_, signature_, &signature), "signatures");
            check(LiteRtGetSignatureKey(signature, &name), "signatures");
            if (name == wanted) break;
        }
        if (signature_ == count) throw std::runtime_error("the file has no signature " + wanted);
        LiteRtTensor tensor = nullptr;
        check(LiteRtGetNumSignatureInputs(signature, &count), wanted);
        for (LiteRtParamIndex n = 0; n < count; ++n) {
            check(LiteRtGetSignatureInputName(signature, n, &name), wanted);
            check(LiteRtGetSignatureInputTensorByIndex(signature, n, &tensor), name);
            inputs_.emplace_back(name, tensor);
        }
        check(LiteRtGetNumSignatureOutputs(signature, &count), wanted);
        for (LiteRtParamIndex n = 0; n < count; ++n) {
            check(LiteRtGetSignatureOutputName(signature, n, &name), wanted);
            check(LiteRtGetSignatureOutputTensorByIndex(signature, n, &tensor), name);
            outputs_.emplace_back(name, tensor);
        }
        // A state is an input and, with _out behind its name, an output. What is left is the network's input and output.
        for (size_t in = 0; in < inputs_.size(); ++in) {
            auto same = [&](const Tensor& output) { return output.name == inputs_[in].name + "_out"; };
            auto found = std::find_if(outputs_.begin(), outputs_.end(), same);
            if (found == outputs_.end())
                x_ = in;
            else
                states_.emplace_back(in, static_cast<size_t>(found - outputs_.begin()));
        }
        auto is_y = [&](auto state) { return state.second == y_; };
        while (std::any_of(states_.begin(), states_.end(), is_y)) ++y_;
    }

    // A sequence of another length wants other buffers. An output of every step is as long as the sequence.
    void fit(size_t count) {
        Tensor& x = inputs_[x_];
        auto steps = static_cast<int32_t>(count / x.step_size());
        if (steps == x.steps()) return;
        x.set_steps(steps);
        const LiteRtLayout& layout = x.type.layout;
        check(LiteRtCompiledModelResizeInputTensor(compiled_, signature_, x_, layout.dimensions, layout.rank), "resize");
        allocate(x);
        for (Tensor& output : outputs_) {
            if (!output.time_axis) continue;
            output.set_steps(steps);
            allocate(output);
        }
    }

    void allocate(Tensor& tensor) {
        if (tensor.buffer != nullptr) LiteRtDestroyTensorBuffer(tensor.buffer);
        size_t bytes = tensor.size() * (tensor.is_bytes() ? 1 : 2);
        check(LiteRtCreateManagedTensorBuffer(environment_, kLiteRtTensorBufferTypeHostMemory, &tensor.type, bytes,
                                              &tensor.buffer),
              tensor.name);
    }

    LiteRtEnvironment environment_ = nullptr;
    LiteRtModel model_ = nullptr;
    LiteRtCompiledModel compiled_ = nullptr;
    LiteRtParamIndex signature_ = 0;
    std::vector<Tensor> inputs_, outputs_;
    std::vector<std::pair<size_t, size_t>> states_; // among the inputs, among the outputs
    size_t x_ = 0, y_ = 0;
};

void print(const Integers& output) {
    std::cout << "class " << std::max_element(output.begin(), output.end()) - output.begin() << ":";
    for (int64_t integer : output) std::cout << " " << integer;
    std::cout << std::endl;
}

void classify(Network& network, std::istream& lines) {
    std::vector<double> values;
    Integers output;
    for (std::string line; std::getline(lines, line);) {
        if (line.empty()) {
            if (values.empty()) continue; // a second empty line
            print(network.takes_sequences() ? network.run(values) : output);
            values.clear();
            network.reset();
            continue;
        }
        if (!network.takes_sequences()) values.clear();
        std::istringstream words(line);
        for (double value; words >> value;) values.push_back(value);
        if (!network.takes_sequences()) output = network.run(values);
    }
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: " << argv[0] << " model.tflite step|serving_default < steps.txt\n";
        return 2;
    }
    try {
        Network network(argv[1], argv[2]);
        classify(network, std::cin);
    } catch (const std::exception& error) {
        std::cerr << argv[1] << ": " << error.what() << "\n";
        return 1;
    }
}
