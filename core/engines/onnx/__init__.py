"""The onnx engine: dlib's networks run by ONNX Runtime."""
