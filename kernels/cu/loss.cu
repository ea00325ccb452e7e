// Cross-entropy over classes and over the tokens of a sequence, each with its gradient. Everything in f32.
//
// cross_entropy: losses[b] = -log softmax(logits[b])[labels[b]], d_logits = (softmax - onehot) / B; logits (B, K).
// span_loss: the two columns of logits (N, 2) are scores of starts and ends, each a softmax over the tokens of one
// sequence; losses[b] is the mean of both cross-entropies, d_logits the gradient of the mean over B.
//
// Bound by latency: some KiB of data. A warp a row or sequence; scores are read three times, from the cache. The target's
// gradient p - 1 is taken as minus what the others have together, so that a row's gradients cancel as in theory: their sum
// is that of a bias. Not yet timed on a device.
#include "vectors.cuh"

/// A softmax over scores that lie `stride` apart from `start` on, seen by one warp.
struct Softmax {
    float largest, sum;
};

/// Scores that lie apart: element i is values[start + i * stride].
template <class P>
DEVICE Softmax softmax_of(P scores, i64 start, int stride, int count) {
    float largest = float_of_bits(0xff800000u);
    for (int i = lane_index(); i < count; i += 32) {
        float score = scores[start + i64(i) * stride];
        largest = (score > largest || score != score) ? score : largest;
    }
    largest = warp_max(largest);
    float sum = 0.0f;
    for (int i = lane_index(); i < count; i += 32) {
        float score = scores[start + i64(i) * stride];
        sum += expf(score - largest);
    }
    return Softmax{largest, warp_sum(sum)};
}

/// Writes the gradient times `weight` beside the scores, and returns the loss.
DEVICE float softmax_loss(Global<float> gradient, Global<const float> scores, i64 start, int stride, int count, int target, float weight) {
    Softmax softmax = softmax_of(scores, start, stride, count);
    float others = 0.0f;
    for (int i = lane_index(); i < count; i += 32) {
        if (i == target) continue;
        float score = scores[start + i64(i) * stride];
        float p = expf(score - softmax.largest) / softmax.sum;
        gradient[start + i64(i) * stride] = p * weight;
        others += p;
    }
    others = warp_sum(others);
    float score = scores[start + i64(target) * stride];
    if (lane_index() == 0) gradient[start + i64(target) * stride] = -others * weight;
    return logf(softmax.sum) + (softmax.largest - score);
}

KERNEL cross_entropy(Global<float> losses, Global<float> d_logits, Global<const float> logits, Global<const int> labels, int rows,
                     int classes) {
    for (int row = warp_index(); row < rows; row += warp_count()) {
        int label = labels[row];
        float loss = softmax_loss(d_logits, logits, i64(row) * classes, 1, classes, label, 1.0f / float(rows));
        if (lane_index() == 0) losses[row] = loss;
    }
}

KERNEL span_loss(Global<float> losses, Global<float> d_logits, Global<const float> logits, Global<const int> cu_seqlens,
                 Global<const int> starts, Global<const int> ends, int sequences) {
    for (int sequence = warp_index(); sequence < sequences; sequence += warp_count()) {
        int first = cu_seqlens[sequence], length = cu_seqlens[sequence + 1];
        length -= first;
        int start = starts[sequence], end = ends[sequence];
        float weight = 0.5f / float(sequences);
        float loss = softmax_loss(d_logits, logits, i64(first) * 2, 2, length, start, weight);
        loss += softmax_loss(d_logits, logits, i64(first) * 2 + 1, 2, length, end, weight);
        if (lane_index() == 0) losses[sequence] = loss / 2.0f;
    }
}

EXPORT(cross_entropy)
EXPORT(span_loss)
